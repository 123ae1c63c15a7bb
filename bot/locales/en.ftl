## Commands: what menus and /help show

story-summary = A short story with your words
story-usage = /story [genre] [word, word, …] ["opening line"] [title=…] [level=A2] [length=short] [model=…]
story-details =
    Every part may be left out. Example: /story sci_fi Tom, dinner level=A2
    Put commas between words: Tom, look after, dinner. Without any comma, each word counts by itself. Up to { $limit } words.
    The genre comes first. To use a genre's name as a word, start with a comma: /story , drama, Tom
    A line in quotes is how the story begins.
again-summary = Another version of your last story; the first is kept
again-usage = /again [level=A1] [length=long] [temperature=1.1] …
again-details = The words stay, the story is new. Every version stays in /history.
continue-summary = What happens next in your last story
continue-usage = /continue [word, word, …] ["opening line"]
continue-details = Goes on from your last story. You can add new words: /continue storm, boat
sentence-summary = An example sentence for a word
sentence-usage = /sentence word
sentence-details = Shows how a word or a phrase is used: /sentence dinner or /sentence look after
joke-summary = A short joke, with your words if you like
joke-usage = /joke [word, word, …]
joke-details = Examples: /joke or /joke doctor, apple
settings-summary = Level, length, language and how stories are written
settings-usage = /settings [name] [value]
settings-details =
    /settings shows everything. /settings level A2 sets one value, /settings level off puts it back.
    /settings preset wild changes several at once. /settings reset puts all back, except the language.
history-summary = Your stories, to read again
history-usage = /history [number] or /history page 2
history-details = /history lists your stories, the newest first. /history 3 shows the third again.
help-summary = What I can do
help-usage = /help [command]
help-details = /help lists all commands, /help story explains one.
about-summary = Which model writes, and what is kept
about-usage = /about
about-details = Shows the model, the version, the licence and a word about privacy.
start-summary = A first hello
start-usage = /start
start-details = Says hello and shows a first example.

arg-words = Words that the story must use, with commas between them
arg-genre = The genre of the story
arg-opening = How the story begins
arg-title = The story's title
arg-name = Which setting
arg-value = Its new value; "off" puts it back to the default
arg-number = Which story to show again: 1 is the newest
arg-page = Which page of the list to show
arg-command = The command to explain

## Hello and help

start-welcome = Hello! Give me a few words that you are learning, and I tell you a short story that uses them.
start-try = Try this: { $example }
help-title = This is what I can do:
help-hint = /help story explains a command. Example: /story sci_fi Tom, dinner
about-what = Wordtale { $version }: your words become a story.
about-model = Stories are written by the model { $name }, version { $version } ({ $millions } million parameters), on this machine.
about-no-model = The storyteller is not running right now.
about-licence = Licence: { $licence }.
about-privacy = Your stories and settings are encrypted where they are kept. Nothing is used for training, and nobody else sees them.
plain-text = I tell stories when you start with /story. For example: /story { $example }
plain-text-empty = Type /story and a few words. For example: /story { $example }
console-hello = Ctrl-D or /quit leaves, /help shows everything.
console-starting = Starting the storyteller…
console-resumed = You asked for this before the chat was closed:

## A story and its receipt

receipt-all = { $used }/{ $total } { $total ->
        [one] word
       *[other] words
    }: { $words }
receipt-some = { $used }/{ $total } { $total ->
        [one] word
       *[other] words
    }: { $words } — missing: { $missing }
receipt-none = 0/{ $total } { $total ->
        [one] word
       *[other] words
    } — missing: { $missing }
receipt-harder = Harder words: { $words }
receipt-detail = level { $level } · seed { $seed }, best of { $n } · { $model }
version-note = This is version { $number } of { $total }. /history keeps the others.
story-not-kept = I could not save this story, so it is not in your history. Copy it if you like it.
genre-as-word = I used “{ $genre }” as a word. As a genre, I have { $nearest }.
kind-sentence = sentence
kind-joke = joke
kind-continue = continued
kind-simpler = simpler
kind-harder = harder
button-again = Again
button-continue = Continue
button-example = Show me an example
button-help = Help
button-newer = ← Newer
button-older = Older →
progress-waiting = { $position ->
        [0] You are next…
        [one] { $position } story is before yours…
       *[other] { $position } stories are before yours…
    }
progress-writing = Writing…

## History

history-title = Your stories, the newest first:
history-hint = /history 1 shows a story again.
history-hint-older = /history 1 shows a story again. /history page { $page } shows older ones.
history-empty = You have no stories yet. Try: /story Tom, dinner
history-end = There are no older stories.
history-short = { $total ->
        [0] You have no stories yet. Try: /story Tom, dinner
        [one] You have one story only. Show it with /history 1
       *[other] You have { $total } stories. Show one with a number from 1 to { $total }.
    }
bad-history = I don't understand “{ $value }”. Use a number from 1 to { $highest }: /history 3 or /history page 2

## Settings

settings-title = Your settings:
settings-hint = Change one with its name and value: /settings level A2. Or take a preset: /settings preset wild
settings-were-reset = All settings are back to their defaults. Your language stays.
settings-changed = { $name } is now { $value }.
settings-default = { $name } is back to its default.
settings-preset = The preset is now { $name }: { $values }.
settings-language = I speak { $name } now.
value-default = default
allowed-model = a model's name
setting-preset = A set of values in one go: careful, balanced or wild.
setting-level = How hard the English is, from A1 (first words) to B2.
setting-length = How long a story is: short up to 60 words, medium up to 110, long above.
setting-genre = The genre when you name none.
setting-model = Which model writes your stories.
setting-seed = A fixed number gives the same story for the same words again.
setting-temperature = Low is calm and predictable, high is surprising and sometimes odd.
setting-top-p = Only the likeliest next words are used, up to this share; lower is safer.
setting-top-k = Only this many of the likeliest next words are used; 0 means no limit.
setting-min-p = Leaves out next words much less likely than the best one; higher is safer.
setting-repetition-penalty = Makes words that were used already less likely; 1 switches it off.
setting-no-repeat-ngram-size = No run of this many words comes twice; 0 switches it off.
setting-dry-multiplier = How much a phrase that was said before is avoided; 0 switches it off.
setting-dry-base = How fast that rises the longer the repeated phrase gets.
setting-dry-allowed-length = How many tokens may be repeated before it counts.
setting-num-beams = Compares this many drafts side by side; slower, not every model can; 1 is off.
setting-max-new-tokens = The most that may be written, in word pieces; a story still ends properly.
setting-language = The language in which I speak to you; stories stay in English.

## What is wrong, and what would be right

unknown-command = I don't know /{ $command }. Did you mean /{ $nearest }? /help shows all commands.
not-allowed = Only an admin may use /{ $command }.
cooldown = One moment, please: /{ $command } works again in { $seconds ->
        [one] { $seconds } second
       *[other] { $seconds } seconds
    }.
message-long = That is too long: { $count } characters. Please keep it to { $limit }; a few words are enough.
too-many-words = That is { $count } words. I can use up to { $limit } in one story; please leave some out.
word-long = “{ $word }” is too long for a word: { $count } characters, at most { $limit }. Put commas between words.
word-long-no-commas = “{ $word }” is too long for a word: { $count } characters, at most { $limit }.
not-a-word = “{ $word }” has no letter in it. Words look like this: /story Tom, dinner
quote-open = A quote is never closed: { $text } Please put a second quote at its end.
option-empty = There is nothing after “{ $option }=”. Give it a value, such as level=A2 or title="Friday evening".
opening-empty = There is nothing between the quotes. Put the story's first line there: "It was a dark night."
opening-long = The opening line has { $count } characters; { $limit } is the most.
title-long = The title has { $count } characters; { $limit } is the most.
two-openings = A story has one opening line. Please take the quotes away from: { $text }
unknown-genre = I don't know the genre “{ $genre }”. I have: { $genres }.
unknown-genre-near = I don't know the genre “{ $genre }”. Did you mean { $nearest }? I have: { $genres }. If it is one of your words, start with a comma: /story , { $genre }
unknown-option = I don't know the option “{ $option }=”. There are: { $options }.
unknown-option-near = I don't know the option “{ $option }=”. Did you mean { $nearest }=? There are: { $options }.
bad-level = “{ $value }” is not a level I can write. Choose one of { $allowed }.
bad-length = “{ $value }” is not a length. Choose one of { $allowed }.
bad-preset = “{ $value }” is not a preset. Choose one of { $allowed }.
bad-model-name = “{ $value }” can't be a model's name. It looks like this: storyteller
bad-seed = “{ $value }” is not a seed. A seed is a whole number from 0 to { $highest }.
bad-number = { $name } needs a number from { $lowest } to { $highest }, not “{ $value }”.
bad-whole = { $name } needs a whole number from { $lowest } to { $highest }, not “{ $value }”.
out-of-range = { $name } goes from { $lowest } to { $highest }; { $value } is outside.
out-of-range-above = { $name } must be above { $lowest } and at most { $highest }; { $value } is outside.
bad-language = I don't speak “{ $value }” yet. Choose one of { $allowed }.
unknown-setting = There is no setting “{ $name }”. There are: { $settings }.
unknown-setting-near = There is no setting “{ $name }”. Did you mean { $nearest }? There are: { $settings }.
model-not-there = There is no model “{ $model }”. There are: { $models }.
sentence-empty = Which word? For example: /sentence dinner
no-words-here = /again keeps your words. For other words use /story, to go on use /continue.
nothing-yet = There is no story yet. Start with one: /story Tom, dinner
not-yours = I can't find that story among yours. /history shows what you have.

## When the engine can't

engine-restarting = The storyteller stopped. I am starting it again…
engine-retold = The storyteller had stopped. I started it again and told your story from the beginning.
engine-invalid-request = The storyteller did not take that request: { $detail }
engine-unsupported-setting = This model can't do that: { $detail } Put the setting back with /settings, for example: /settings num_beams off
engine-unwritable-words = Stories are in English, so I need words in English letters. Please choose others, such as: dinner, look after, Tom
engine-unsuitable-words = I can't tell a story with these words. Please choose others.
engine-unsuitable-story = Nothing came out that I would like to show you. Please try again or take other words.
engine-model-unknown = There is no such model. /settings model off goes back to the default.
engine-overloaded = Many people want stories right now. { $seconds ->
        [0] Please try again in a moment.
        [one] Please try again in { $seconds } second.
       *[other] Please try again in { $seconds } seconds.
    }
engine-not-ready = The storyteller is still waking up. Please try again in a moment.
engine-shutting-down = The storyteller is being restarted. Please try again in a moment.
engine-deadline = The story took too long. Please try again, or with fewer words.
engine-cancelled = The story was stopped.
engine-unauthorised = The storyteller does not let me in. Its owner has to check the token.
engine-unavailable = The storyteller can't be reached, so I could not tell your story. Please send it again in a moment. ({ $detail })
engine-internal = Something went wrong while the story was written. Please try again.

## When storage can't

storage-busy = Sorry, I could not save that: the database is busy. Please try again in a moment.
storage-full = Sorry, I could not save that: the disk is full. Make some room and try again.
storage-read-only = Sorry, I could not save that: the database can't be written to. Its owner has to check its permissions.
storage-corrupt = Sorry, the database is damaged. Its owner should look at it: wordtale db check
storage-key-missing = Sorry, the key to the stored stories is not there. Its owner has to put the key file back.
storage-version = The database was made by another version of Wordtale. Its owner has to update Wordtale, or run: wordtale db upgrade
storage-trouble = Sorry, I could not reach my notes. Please try again in a moment.
internal = Sorry, something went wrong here. It is in the log; please try again.
