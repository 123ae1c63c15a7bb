## Команды: то, что видно в меню и в /help

story-summary = Короткая история с вашими словами
story-usage = /story [жанр] [слово, слово, …] ["первая фраза"] [title=…] [level=A2] [length=short] [model=…]
story-details =
    Любую часть можно пропустить. Пример: /story sci_fi Tom, dinner level=A2
    Разделяйте слова запятыми: Tom, look after, dinner. Без запятых каждое слово считается отдельно. Слов может быть до { $limit }.
    Жанр пишется первым. Чтобы название жанра стало обычным словом, начните с запятой: /story , drama, Tom
    Фраза в кавычках — это начало истории.
again-summary = Другой вариант последней истории; прежний сохраняется
again-usage = /again [level=A1] [length=long] [temperature=1.1] …
again-details = Слова те же, история новая. Все варианты остаются в /history.
continue-summary = Что было дальше в последней истории
continue-usage = /continue [слово, слово, …] ["первая фраза"]
continue-details = Продолжает последнюю историю. Можно добавить слова: /continue storm, boat
sentence-summary = Пример предложения со словом
sentence-usage = /sentence слово
sentence-details = Показывает, как употребляется слово или выражение: /sentence dinner или /sentence look after
joke-summary = Короткая шутка, можно с вашими словами
joke-usage = /joke [слово, слово, …]
joke-details = Примеры: /joke или /joke doctor, apple
settings-summary = Уровень, длина, язык и то, как пишутся истории
settings-usage = /settings [название] [значение]
settings-details =
    /settings показывает всё. /settings level A2 меняет одно значение, /settings level off возвращает обычное.
    /settings preset wild меняет сразу несколько. /settings reset возвращает всё, кроме языка.
history-summary = Ваши истории: прочитать ещё раз
history-usage = /history [номер] или /history page 2
history-details = /history показывает список, новые сверху. /history 3 показывает третью историю ещё раз.
help-summary = Что я умею
help-usage = /help [команда]
help-details = /help показывает все команды, /help story объясняет одну.
about-summary = Какая модель пишет и что сохраняется
about-usage = /about
about-details = Показывает модель, версию, лицензию и несколько слов о конфиденциальности.
start-summary = Знакомство
start-usage = /start
start-details = Приветствие и первый пример.

arg-words = Слова для истории, через запятую
arg-genre = Жанр истории
arg-opening = С чего начинается история
arg-title = Название истории
arg-name = Какая настройка
arg-value = Новое значение; «off» возвращает обычное
arg-number = Какую историю показать ещё раз: 1 — самая новая
arg-page = Какую страницу списка показать
arg-command = Какую команду объяснить

## Приветствие и помощь

start-welcome = Здравствуйте! Напишите несколько английских слов, которые вы учите, и я расскажу короткую историю с ними.
start-try = Попробуйте: { $example }
help-title = Вот что я умею:
help-hint = /help story объясняет команду. Пример: /story sci_fi Tom, dinner
about-what = Wordtale { $version }: ваши слова становятся историей.
about-model = Истории пишет модель { $name }, версия { $version } (параметров: { $millions } млн), на этом компьютере.
about-no-model = Рассказчик сейчас не запущен.
about-licence = Лицензия: { $licence }.
about-privacy = Ваши истории и настройки хранятся в зашифрованном виде. Они не используются для обучения, и никто другой их не видит.
plain-text = Я рассказываю истории, если начать с /story. Например: /story { $example }
plain-text-empty = Напишите /story и несколько слов. Например: /story { $example }
console-hello = Ctrl-D или /quit — выход, /help — все команды.
console-starting = Запускаю рассказчика…
console-resumed = Вы просили об этом до того, как чат закрылся:

## История и её чек

receipt-all = { $used }/{ $total } { $total ->
        [one] слово
        [few] слова
       *[many] слов
    }: { $words }
receipt-some = { $used }/{ $total } { $total ->
        [one] слово
        [few] слова
       *[many] слов
    }: { $words } — не хватает: { $missing }
receipt-none = 0/{ $total } { $total ->
        [one] слово
        [few] слова
       *[many] слов
    } — не хватает: { $missing }
receipt-harder = Слова посложнее: { $words }
receipt-detail = уровень { $level } · seed { $seed }, лучшая из { $n } · { $model }
version-note = Это вариант { $number } из { $total }. Остальные — в /history.
story-not-kept = Эту историю не удалось сохранить, в /history её нет. Скопируйте её, если она вам понравилась.
genre-as-word = «{ $genre }» — это слово в истории. Из жанров ближе всего { $nearest }.
kind-sentence = предложение
kind-joke = шутка
kind-continue = продолжение
kind-simpler = проще
kind-harder = сложнее
button-again = Ещё вариант
button-continue = Дальше
button-example = Показать пример
button-help = Помощь
button-newer = ← Новее
button-older = Старше →
progress-waiting = { $position ->
        [0] Вы следующие…
        [one] Перед вами { $position } история…
        [few] Перед вами { $position } истории…
       *[many] Перед вами { $position } историй…
    }
progress-writing = Пишу…

## Список историй

history-title = Ваши истории, новые сверху:
history-hint = /history 1 показывает историю ещё раз.
history-hint-older = /history 1 показывает историю ещё раз. /history page { $page } показывает более старые.
history-empty = У вас пока нет историй. Попробуйте: /story Tom, dinner
history-end = Более старых историй нет.
history-short = { $total ->
        [0] У вас пока нет историй. Попробуйте: /story Tom, dinner
        [one] У вас { $total } история. Назовите номер не больше { $total }: /history 1
        [few] У вас { $total } истории. Назовите номер от 1 до { $total }.
       *[many] У вас { $total } историй. Назовите номер от 1 до { $total }.
    }
bad-history = Не понимаю «{ $value }». Нужен номер от 1 до { $highest }: /history 3 или /history page 2

## Настройки

settings-title = Ваши настройки:
settings-hint = Чтобы изменить, напишите название и значение: /settings level A2. Или выберите набор: /settings preset wild
settings-were-reset = Все настройки снова обычные. Язык остался прежним.
settings-changed = Теперь { $name }: { $value }.
settings-default = { $name }: снова обычное значение.
settings-preset = Теперь набор { $name }: { $values }.
settings-language = Теперь я говорю на языке: { $name }.
value-default = обычное
allowed-model = название модели
setting-preset = Готовый набор значений: careful, balanced или wild.
setting-level = Насколько труден английский: от A1 (первые слова) до B2.
setting-length = Длина истории: short — до 60 слов, medium — до 110, long — больше.
setting-genre = Жанр, если вы его не назвали.
setting-model = Какая модель пишет ваши истории.
setting-seed = С одним и тем же числом на те же слова выходит та же история.
setting-temperature = Меньше — спокойнее и предсказуемее, больше — неожиданнее и порой страннее.
setting-top-p = Берутся только самые вероятные слова, до этой доли; меньше — надёжнее.
setting-top-k = Берётся только столько самых вероятных слов; 0 — без ограничения.
setting-min-p = Отсекает слова, которые намного менее вероятны, чем лучшее; больше — надёжнее.
setting-repetition-penalty = Уже использованные слова становятся менее вероятными; 1 — выключено.
setting-no-repeat-ngram-size = Столько слов подряд не повторяются дважды; 0 — выключено.
setting-dry-multiplier = Насколько избегаются уже сказанные фразы; 0 — выключено.
setting-dry-base = Как быстро это усиливается, пока повтор растёт.
setting-dry-allowed-length = Сколько токенов подряд можно повторить без последствий.
setting-num-beams = Сравнивает столько вариантов сразу; медленнее, умеют не все модели; 1 — выключено.
setting-max-new-tokens = Сколько можно написать, в частях слов; конец у истории всё равно будет.
setting-language = Язык, на котором я говорю с вами; истории остаются на английском.

## Что не так и как правильно

unknown-command = Я не знаю команду /{ $command }. Может быть, /{ $nearest }? /help показывает все команды.
not-allowed = Команда /{ $command } — только для администраторов.
cooldown = Минутку: /{ $command } снова заработает через { $seconds ->
        [one] { $seconds } секунду
        [few] { $seconds } секунды
       *[many] { $seconds } секунд
    }.
message-long = Слишком длинно: { $count } { $count ->
        [one] символ
        [few] символа
       *[many] символов
    }. Хватит { $limit }: нужно лишь несколько слов.
too-many-words = Здесь { $count } { $count ->
        [one] слово
        [few] слова
       *[many] слов
    }. В одной истории можно до { $limit }; уберите лишние, пожалуйста.
word-long = «{ $word }» — слишком длинно для слова: символов { $count }, а можно до { $limit }. Разделяйте слова запятыми.
word-long-no-commas = «{ $word }» — слишком длинно для слова: символов { $count }, а можно до { $limit }.
not-a-word = В «{ $word }» нет ни одной буквы. Слова пишут так: /story Tom, dinner
quote-open = Кавычка не закрыта: { $text } Поставьте вторую в конце.
option-empty = После «{ $option }=» ничего нет. Нужно значение, например level=A2 или title="Friday evening".
opening-empty = Между кавычками ничего нет. Напишите там первую фразу: "It was a dark night."
opening-long = В первой фразе символов: { $count }, а можно до { $limit }.
title-long = В названии символов: { $count }, а можно до { $limit }.
two-openings = У истории одна первая фраза. Уберите кавычки здесь: { $text }
unknown-genre = Я не знаю жанр «{ $genre }». Есть такие: { $genres }.
unknown-genre-near = Я не знаю жанр «{ $genre }». Может быть, { $nearest }? Есть такие: { $genres }. Если это ваше слово, начните с запятой: /story , { $genre }
unknown-option = Я не знаю параметр «{ $option }=». Есть такие: { $options }.
unknown-option-near = Я не знаю параметр «{ $option }=». Может быть, { $nearest }=? Есть такие: { $options }.
bad-level = На уровне «{ $value }» я не пишу. Выберите: { $allowed }.
bad-length = «{ $value }» — не длина. Выберите: { $allowed }.
bad-preset = «{ $value }» — не набор. Выберите: { $allowed }.
bad-model-name = «{ $value }» не может быть названием модели. Оно выглядит так: storyteller
bad-seed = «{ $value }» не подходит. Seed — это целое число от 0 до { $highest }.
bad-number = Для { $name } нужно число от { $lowest } до { $highest }, а не «{ $value }».
bad-whole = Для { $name } нужно целое число от { $lowest } до { $highest }, а не «{ $value }».
out-of-range = { $name } бывает от { $lowest } до { $highest }; { $value } — за пределами.
out-of-range-above = { $name } должно быть больше { $lowest } и не больше { $highest }; { $value } — за пределами.
bad-language = На языке «{ $value }» я пока не говорю. Выберите: { $allowed }.
unknown-setting = Нет настройки «{ $name }». Есть такие: { $settings }.
unknown-setting-near = Нет настройки «{ $name }». Может быть, { $nearest }? Есть такие: { $settings }.
model-not-there = Нет модели «{ $model }». Есть такие: { $models }.
sentence-empty = Какое слово? Например: /sentence dinner
no-words-here = /again оставляет ваши слова. Для других слов есть /story, для продолжения — /continue.
nothing-yet = Истории ещё нет. Начните с неё: /story Tom, dinner
not-yours = Такой истории среди ваших нет. /history показывает, что есть.

## Когда рассказчик не может

engine-restarting = Рассказчик остановился. Запускаю его снова…
engine-retold = Рассказчик остановился. Я запустил его снова, вот ваша история с самого начала.
engine-invalid-request = Рассказчик не принял запрос: { $detail }
engine-unsupported-setting = Эта модель так не умеет: { $detail } Верните настройку через /settings, например: /settings num_beams off
engine-unwritable-words = Истории пишутся по-английски, поэтому и слова нужны английские, например: dinner, look after, Tom
engine-unsuitable-words = С этими словами я историю не расскажу. Выберите, пожалуйста, другие.
engine-unsuitable-story = Не вышло ничего, что хотелось бы показать. Попробуйте ещё раз или возьмите другие слова.
engine-model-unknown = Такой модели нет. /settings model off вернёт обычную.
engine-overloaded = Сейчас многие просят истории. { $seconds ->
        [0] Попробуйте чуть позже.
        [one] Попробуйте через { $seconds } секунду.
        [few] Попробуйте через { $seconds } секунды.
       *[many] Попробуйте через { $seconds } секунд.
    }
engine-not-ready = Рассказчик ещё просыпается. Попробуйте чуть позже.
engine-shutting-down = Рассказчик перезапускается. Попробуйте чуть позже.
engine-deadline = История писалась слишком долго. Попробуйте ещё раз или возьмите меньше слов.
engine-cancelled = История остановлена.
engine-unauthorised = Рассказчик меня не пускает. Владельцу нужно проверить токен.
engine-unavailable = До рассказчика не достучаться, поэтому истории не вышло. Отправьте её ещё раз чуть позже. ({ $detail })
engine-internal = Что-то сломалось, пока писалась история. Попробуйте ещё раз.

## Когда не может хранилище

storage-busy = Простите, не получилось сохранить: база данных занята. Попробуйте чуть позже.
storage-full = Простите, не получилось сохранить: на диске нет места. Освободите его и попробуйте снова.
storage-read-only = Простите, не получилось сохранить: в базу данных нельзя писать. Владельцу нужно проверить права.
storage-corrupt = Простите, база данных повреждена. Владельцу стоит её проверить: wordtale db check
storage-key-missing = Простите, нет ключа к сохранённым историям. Владельцу нужно вернуть файл с ключом.
storage-version = База данных создана другой версией Wordtale. Владельцу нужно обновить Wordtale или запустить: wordtale db upgrade
storage-trouble = Простите, не могу добраться до своих записей. Попробуйте чуть позже.
internal = Простите, здесь что-то сломалось. Запись есть в журнале; попробуйте ещё раз.
