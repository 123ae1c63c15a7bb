## 命令：菜单和 /help 里显示的内容

story-summary = 用你的单词写一个小故事
story-usage = /story [类型] [单词, 单词, …] ["开头一句"] [title=…] [level=A2] [length=short] [model=…]
story-details =
    每一部分都可以省略。例如：/story sci_fi Tom, dinner level=A2
    单词之间用逗号隔开：Tom, look after, dinner。没有逗号时，每个词单独算。最多 { $limit } 个词。
    类型放在最前面。想把类型名当作单词，请先写一个逗号：/story , drama, Tom
    引号里的句子是故事的开头。
again-summary = 把上一个故事换个写法，原来的会保留
again-usage = /again [level=A1] [length=long] [temperature=1.1] …
again-details = 单词不变，故事是新的。每个版本都在 /history 里。
continue-summary = 上一个故事后来怎样了
continue-usage = /continue [单词, 单词, …] ["开头一句"]
continue-details = 接着上一个故事往下讲。可以加新单词：/continue storm, boat
sentence-summary = 给一个单词造例句
sentence-usage = /sentence 单词
sentence-details = 看一个单词或词组怎么用：/sentence dinner 或 /sentence look after
joke-summary = 一个小笑话，可以带上你的单词
joke-usage = /joke [单词, 单词, …]
joke-details = 例如：/joke 或 /joke doctor, apple
settings-summary = 级别、长度、语言，以及故事的写法
settings-usage = /settings [名称] [值]
settings-details =
    /settings 显示全部设置。/settings level A2 修改一项，/settings level off 恢复默认。
    /settings preset wild 一次改几项。/settings reset 恢复全部默认，语言除外。
history-summary = 你的故事，可以再读一遍
history-usage = /history [编号] 或 /history page 2
history-details = /history 列出你的故事，最新的在前。/history 3 再看第三个。
help-summary = 我会做什么
help-usage = /help [命令]
help-details = /help 列出所有命令，/help story 说明其中一个。
about-summary = 哪个模型在写，保存了什么
about-usage = /about
about-details = 显示模型、版本、许可证和隐私说明。
start-summary = 打个招呼
start-usage = /start
start-details = 打招呼，并给出第一个例子。

arg-words = 故事里必须用到的单词，用逗号隔开
arg-genre = 故事的类型
arg-opening = 故事怎么开头
arg-title = 故事的标题
arg-name = 哪一项设置
arg-value = 新的值；off 恢复默认
arg-number = 再看哪个故事：1 是最新的
arg-page = 看列表的第几页
arg-command = 要说明的命令

## 问候与帮助

start-welcome = 你好！给我几个你正在学的英语单词，我就用它们讲一个小故事。
start-try = 试试看：{ $example }
help-title = 我会做这些：
help-hint = /help story 说明一个命令。例如：/story sci_fi Tom, dinner
about-what = Wordtale { $version }：你的单词变成故事。
about-model = 故事由模型 { $name }（版本 { $version }，{ $millions } 百万参数）在这台机器上写成。
about-no-model = 故事引擎现在没有运行。
about-licence = 许可证：{ $licence }。
about-privacy = 你的故事和设置加密保存，不用于训练，别人也看不到。
plain-text = 以 /story 开头，我就会讲故事。例如：/story { $example }
plain-text-empty = 请输入 /story 和几个单词。例如：/story { $example }
console-hello = 按 Ctrl-D 或输入 /quit 离开，/help 显示全部命令。
console-starting = 正在启动故事引擎…
console-resumed = 这是聊天关闭之前你要的故事：

## 故事和它的清单

receipt-all = { $used }/{ $total } 个单词：{ $words }
receipt-some = { $used }/{ $total } 个单词：{ $words } — 缺少：{ $missing }
receipt-none = 0/{ $total } 个单词 — 缺少：{ $missing }
receipt-harder = 较难的词：{ $words }
receipt-detail = 级别 { $level } · seed { $seed }，{ $n } 个里选出 · { $model }
version-note = 这是第 { $number } 个版本，共 { $total } 个。其他的在 /history 里。
story-not-kept = 这个故事没能保存，/history 里没有。喜欢的话请自己复制一份。
genre-as-word = 我把“{ $genre }”当作单词用了。类型里最接近的是 { $nearest }。
kind-sentence = 例句
kind-joke = 笑话
kind-continue = 续写
kind-simpler = 更简单
kind-harder = 更难
button-again = 换一个
button-continue = 继续
button-example = 看个例子
button-help = 帮助
button-newer = ← 较新
button-older = 较旧 →
progress-waiting = { $position ->
        [0] 下一个就是你…
       *[other] 前面还有 { $position } 个故事…
    }
progress-writing = 正在写…

## 历史

history-title = 你的故事，最新的在前：
history-hint = /history 1 再看一个故事。
history-hint-older = /history 1 再看一个故事。/history page { $page } 看更早的。
history-empty = 你还没有故事。试试：/story Tom, dinner
history-end = 没有更早的故事了。
history-short = { $total ->
        [0] 你还没有故事。试试：/story Tom, dinner
       *[other] 你有 { $total } 个故事。请用 1 到 { $total } 之间的编号。
    }
bad-history = 我不明白“{ $value }”。请用 1 到 { $highest } 之间的编号：/history 3 或 /history page 2

## 设置

settings-title = 你的设置：
settings-hint = 写上名称和值就能修改：/settings level A2。也可以用预设：/settings preset wild
settings-were-reset = 所有设置都恢复默认了，语言不变。
settings-changed = { $name } 现在是 { $value }。
settings-default = { $name } 恢复默认了。
settings-preset = 预设现在是 { $name }：{ $values }。
settings-language = 我现在说{ $name }。
value-default = 默认
allowed-model = 模型的名字
setting-preset = 一次设好几项：careful（稳）、balanced（平衡）或 wild（大胆）。
setting-level = 英语的难度，从 A1（入门）到 B2。
setting-length = 故事的长度：short 最多 60 词，medium 最多 110 词，long 更长。
setting-genre = 没有指定类型时用的类型。
setting-model = 由哪个模型写你的故事。
setting-seed = 固定一个数字，同样的单词就得到同样的故事。
setting-temperature = 低则平稳可预料，高则出人意料，有时会怪。
setting-top-p = 只从最可能的词里选，直到这个比例；越低越稳。
setting-top-k = 只从这么多个最可能的词里选；0 表示不限。
setting-min-p = 去掉比最佳词差得太远的词；越高越稳。
setting-repetition-penalty = 让用过的词不容易再出现；1 表示关闭。
setting-no-repeat-ngram-size = 这么多个连续的词不会重复出现；0 表示关闭。
setting-dry-multiplier = 在多大程度上避免说过的短语；0 表示关闭。
setting-dry-base = 重复的短语越长，避免的力度增加得有多快。
setting-dry-allowed-length = 允许重复多少个词元而不受影响。
setting-num-beams = 同时比较这么多份草稿；较慢，不是每个模型都会；1 表示关闭。
setting-max-new-tokens = 最多写多少（按词的片段算）；故事仍会好好结尾。
setting-language = 我用什么语言和你说话；故事仍是英语。

## 哪里不对，怎样才对

unknown-command = 我不认识 /{ $command }。你是说 /{ $nearest } 吗？/help 显示全部命令。
not-allowed = 只有管理员能用 /{ $command }。
cooldown = 请稍等：{ $seconds } 秒后可以再用 /{ $command }。
message-long = 太长了：{ $count } 个字符。请不要超过 { $limit } 个，几个单词就够了。
too-many-words = 这里有 { $count } 个单词。一个故事最多用 { $limit } 个，请去掉一些。
word-long = “{ $word }”作为单词太长了：{ $count } 个字符，最多 { $limit } 个。请用逗号隔开单词。
word-long-no-commas = “{ $word }”作为单词太长了：{ $count } 个字符，最多 { $limit } 个。
not-a-word = “{ $word }”里没有字母。单词要这样写：/story Tom, dinner
quote-open = 引号没有结束：{ $text } 请在末尾再加一个引号。
option-empty = “{ $option }=”后面没有内容。请给一个值，例如 level=A2 或 title="Friday evening"。
opening-empty = 引号之间没有内容。请写上故事的第一句："It was a dark night."
opening-long = 开头一句有 { $count } 个字符，最多 { $limit } 个。
title-long = 标题有 { $count } 个字符，最多 { $limit } 个。
two-openings = 一个故事只有一句开头。请去掉这里的引号：{ $text }
unknown-genre = 我不认识类型“{ $genre }”。可以用：{ $genres }。
unknown-genre-near = 我不认识类型“{ $genre }”。你是说 { $nearest } 吗？可以用：{ $genres }。如果它是你的单词，请先写一个逗号：/story , { $genre }
unknown-option = 我不认识选项“{ $option }=”。可以用：{ $options }。
unknown-option-near = 我不认识选项“{ $option }=”。你是说 { $nearest }= 吗？可以用：{ $options }。
bad-level = 我写不了“{ $value }”级别。请选：{ $allowed }。
bad-length = “{ $value }”不是长度。请选：{ $allowed }。
bad-preset = “{ $value }”不是预设。请选：{ $allowed }。
bad-model-name = “{ $value }”不能是模型名。模型名像这样：storyteller
bad-seed = “{ $value }”不是 seed。seed 是 0 到 { $highest } 之间的整数。
bad-number = { $name } 需要 { $lowest } 到 { $highest } 之间的数，而不是“{ $value }”。
bad-whole = { $name } 需要 { $lowest } 到 { $highest } 之间的整数，而不是“{ $value }”。
out-of-range = { $name } 的范围是 { $lowest } 到 { $highest }，{ $value } 超出了。
out-of-range-above = { $name } 要大于 { $lowest } 且不超过 { $highest }，{ $value } 超出了。
bad-language = 我还不会说“{ $value }”。请选：{ $allowed }。
unknown-setting = 没有“{ $name }”这项设置。可以用：{ $settings }。
unknown-setting-near = 没有“{ $name }”这项设置。你是说 { $nearest } 吗？可以用：{ $settings }。
model-not-there = 没有“{ $model }”这个模型。可以用：{ $models }。
sentence-empty = 哪个单词？例如：/sentence dinner
no-words-here = /again 会保留你的单词。换单词请用 /story，接着讲请用 /continue。
nothing-yet = 还没有故事。先来一个吧：/story Tom, dinner
not-yours = 你的故事里没有这一个。/history 显示你有哪些。

## 引擎做不到时

engine-restarting = 故事引擎停了，我正在重新启动…
engine-retold = 故事引擎停了。我重新启动了它，从头讲了你的故事。
engine-invalid-request = 故事引擎不接受这个请求：{ $detail }
engine-unsupported-setting = 这个模型做不到：{ $detail } 请用 /settings 恢复设置，例如：/settings num_beams off
engine-unwritable-words = 故事是英语的，所以请给我英语单词，例如：dinner, look after, Tom
engine-unsuitable-words = 我不能用这些单词讲故事，请换别的。
engine-unsuitable-story = 没写出适合给你看的故事。请再试一次，或者换些单词。
engine-model-unknown = 没有这个模型。/settings model off 恢复默认。
engine-overloaded = 现在很多人要故事。{ $seconds ->
        [0] 请过一会儿再试。
       *[other] 请 { $seconds } 秒后再试。
    }
engine-not-ready = 故事引擎还在启动，请过一会儿再试。
engine-shutting-down = 故事引擎正在重启，请过一会儿再试。
engine-deadline = 这个故事花的时间太长了。请再试一次，或者少用几个单词。
engine-cancelled = 故事已停止。
engine-unauthorised = 故事引擎不让我进去，请管理员检查令牌。
engine-unavailable = 联系不上故事引擎，没能讲你的故事。请过一会儿再发一次。（{ $detail }）
engine-internal = 写故事时出了问题，请再试一次。

## 存储做不到时

storage-busy = 抱歉，没能保存：数据库正忙。请过一会儿再试。
storage-full = 抱歉，没能保存：磁盘满了。请腾出空间再试。
storage-read-only = 抱歉，没能保存：数据库不能写入。请管理员检查权限。
storage-corrupt = 抱歉，数据库损坏了。请管理员检查：wordtale db check
storage-key-missing = 抱歉，找不到存储的密钥。请管理员把密钥文件放回去。
storage-version = 数据库来自另一个版本的 Wordtale。请管理员更新 Wordtale，或运行：wordtale db upgrade
storage-trouble = 抱歉，我读不到自己的记录。请过一会儿再试。
internal = 抱歉，这里出了点问题，日志里有记录。请再试一次。
