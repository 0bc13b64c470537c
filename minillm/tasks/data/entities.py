"""Sentences with persons, places, organizations and dates, in English and in Chinese: generated.

    {"text": "Jordan Vance flew to Jordan in May.",
     "spans": [[0, 12, "PER"], [21, 27, "LOC"], [31, 34, "DATE"]]}

No sentence is from the world: templates, written for this project, are filled with common first
names, surnames and places, with names made of syllables, and with dates. What makes it a task:

* The test split has sentences of its own, and half of its names, places, organizations, jobs and
  things occur nowhere else. Only the words around them say what they are.
* Ambiguous words occur in both splits, in all their roles: May is a month, a woman and a verb;
  Jordan and Washington are persons and places, Lantern is a company and a lamp.
* One text in six is in lower case, where names look like other words.
* One text in seven is Chinese, where nothing separates a name from the words around it.

Each list below has two columns, split at "|": words of all splits, words of the test split only.
"""

from functools import partial

import numpy as np

from minillm.tasks.data.drawing import generate_splits, pick
from minillm.tasks.data.labelled_text import either, fill_labelled, invented_words, join_labelled

COLUMN = {"train": 0, "valid": 0, "test": 1}  # of the lists below
WHAT = ("sentences generated from templates, English and Chinese; the scores say nothing about "
        "other texts")
SHARE_OF_CHINESE, SHARE_OF_LOWER_CASE, SHARE_OF_AMBIGUOUS = 1 / 7, 1 / 6, 0.25


def _columns(words, separator=None):
    """-> (list of the training words, list of the test words)"""
    return tuple([" ".join(word.split()).replace("~", " ") for word in column.split(separator)]
                 for column in words.split("|"))


# ---- words with several roles: the first column in all splits, the second in the test split only

AMBIGUOUS_FIRST = _columns("""
    May April June Jordan Paris Georgia Florence Austin Chelsea Will Mark Bill Rose Grace Frank
    | August Sydney Victoria Dallas Hope Ivy Drew Pat""")
AMBIGUOUS_LAST = _columns("""
    Washington Lincoln Hamilton Houston Madison March Banks Stone Young Baker Cook Mason Field
    | Lancaster Kent Rivers Wells Fisher Carter Page Bristol""")
AMBIGUOUS_PLACES = _columns("""
    Jordan Paris Georgia Florence Austin Chelsea Washington Lincoln Hamilton Houston Madison Field
    | Sydney Victoria Dallas Lancaster Kent Wells Bristol""")
AMBIGUOUS_BRANDS = _columns("Lantern Harbor Kettle Orchard Beacon | Ladder Saddle Meadow Compass")

# ---- persons

FIRST = _columns("""
    Anna Peter Maria Thomas Laura Daniel Sofia Martin Elena David Nina Paul Clara Robert Julia
    Stefan Emma Victor Alice Simon Irene Oscar Hannah Leo Marta Felix Ruth Hugo Lena George Petra
    Adam Carla Henry Vera Samuel Olga Edward Tessa Ralph Ingrid Walter Rita Dennis Amir Yuki Priya
    Omar Fatima Chen Kofi Leila Diego Nadia Ravi Aisha Tariq Mei Sanjay Zara
    | Bruno Celia Gilbert Esther Lionel Maud Norbert Opal Quentin Rosalind Silas Thelma Ulrich
    Wanda Xenia Yvonne Cedric Dora Edgar Flora Akira Bilal Chidi Deepa Emeka Farid Hiroshi Imani""")
LAST = _columns("""
    Smith Miller Novak Garcia Weber Rossi Dubois Larsen Kowalski Schmidt Brown Taylor Wilson
    Moreau Fischer Ivanova Santos Keller Murphy Olsen Costa Berger Walsh Andersen Romano Clarke
    Hoffmann Petrov Silva Becker Evans Martinez Nilsson Horvat Kelly Meyer Lopez Wright Tanaka
    Patel Hassan Okafor Nguyen Rahman Sato Diallo Haddad Singh
    | Abbott Bianchi Crawford Delgado Eriksen Fournier Gallagher Holloway Iverson Jankowski
    Kirchner Lindqvist Mancini Navarro Overton Pritchard Quigley Rasmussen Sheridan Thornton Ueda
    Varga Whitlock Yamada Zielinski Mbeki Chaudhry Banerjee""")
INVENTED_LAST = (
    invented_words("Kes Var Tol Mir Hal Bren Dor Fal Gar Nor Pel Sor".split(), ["", "a", "i"],
                   "ler wick man sen ter low dell ski".split()),
    invented_words("Wex Zan Quil Jor Cul Thra Ver Ash".split(), ["", "o", "e"],
                   "mer gate land berg ton nik fold ling".split()),
)
TITLES = _columns("Dr. Mrs. Mr. Professor | Dr. Mrs. Mr. Ms.")

# ---- places

PLACES = _columns("""
    London Berlin Madrid Vienna Oslo Prague Lisbon Warsaw Dublin Athens Cairo Nairobi Lagos Tokyo
    Seoul Delhi Mumbai Hanoi Manila Lima Bogota Chicago Boston Denver Toronto Montreal Germany
    France Italy Spain Norway Poland Kenya Egypt Japan India Peru Canada Mexico Brazil Texas
    Bavaria Tuscany Scotland
    | Hamburg Lyon Seville Turin Bergen Krakow Porto Salzburg Galway Tunis Accra Kampala Osaka
    Jaipur Quito Seattle Portland Ottawa Sweden Portugal Greece Ghana Nepal Chile Vietnam Oregon
    Saxony Brittany Wales Finland""")
INVENTED_PLACES = (
    invented_words("Ash Brook Crow Elm Fern Glen Hart Mill North Oak Red Stan".split(), [""],
                   "ford ton bury field wood ville ham stead".split()),
    invented_words("Thorn Alder Birch Wolf Marsh Kings Larch South".split(), [""],
                   "ford ton bury haven mouth ville ham bridge".split()),
)
TWO_WORD_PLACES = _columns("""
    New Haven, Port Ellis, Lake Como, Cape Verde, San Marco, Mount Hale, Santa Rosa, North Bay,
    Fort Collins, West Harrow
    | New Bedford, Port Arden, Lake Orta, Cape May, San Telmo, Mount Isa, Santa Fe, East Lothian""",
    ",")

# ---- organizations

KINDS = _columns("""
    Bank, Museum, Hospital, Airlines, Press, Motors, Foods, Theatre, Institute, College,
    Laboratories, Ltd, Energy, Library, Football Club, School of Music
    | Insurance, Shipping, Observatory, Academy, Orchestra, Textiles, Zoo, Museum of Art,
    Hospital, Bank, Rowing Club""", ",")
BRANDS = (
    invented_words("Vel Nor Axi Zen Tri Omni Quan Hel Syn Lum".split(), ["", "o"],
                   "trix dal com gen tec via don".split()),
    invented_words("Pra Kry Evo Uni Bio Sol Nex".split(), ["", "a"],
                   "dex lio vant nova rix".split()),
)
HEADS = _columns("""
    Green Bicycle, Old Clock, River, Mountain, Young Writers, Winter Garden, Red Stone
    | Blue Kite, Silver Stamp, Lighthouse, Night Owl, Radio, White Tower""", ",")
TAILS = _columns("Records, Books, Tours, Films | Games, Records, Weekly, Tours", ",")

# ---- words without a label

JOBS = _columns("""
    teacher nurse carpenter pilot lawyer painter baker engineer farmer singer clerk doctor cook
    gardener driver mayor student writer waiter soldier miner priest banker actor guide porter
    hunter weaver barber editor builder poet
    | plumber dentist sailor tailor chemist shepherd librarian violinist butcher judge potter
    cleaner""")
THINGS = _columns("""
    lantern kettle bicycle letter coat map clock violin boat ticket ladder picture stone rose bill
    stamp piano suitcase harbor orchard beacon cake book chair hat table door window key lamp jar
    basket bottle cup needle spoon shirt ring wheel phone camera radio drum flute bell rope candle
    pencil jacket cart wagon horse dog cat goat bridge tower garden house barn shop report plan
    tale song poem film prize
    | hammer blanket mirror trumpet wheelbarrow teapot carpet compass saddle meadow globe notebook
    cello umbrella bucket shovel sofa pillow parrot canoe cottage fence novel medal""")
LOOKS = _columns("""
    old new heavy cheap broken small red beautiful long strange young green empty warm dark simple
    wooden famous quiet bright dirty clean round thin useful ugly soft rare golden early
    | dusty narrow costly crooked tiny yellow splendid frozen cracked hollow pale rusty""")
HANDLED = _columns("""
    bought sold found lost painted repaired carried cleaned wanted liked described copied opened
    kept hid stole borrowed returned showed praised forgot measured moved took sent brought saw
    will~buy will~mark may~sell
    | dropped wrapped admired polished rented broke counted lifted will~paint may~keep
    would~like""")
ACTED = _columns("""
    laughed slept sang danced waited left smiled worked cried arrived retired won swam returned
    agreed died stayed resigned apologized will~cook may~come
    | whistled disappeared hesitated recovered nodded complained will~return may~leave""")
RELATIVES = _columns("mother brother daughter uncle neighbor friend | father sister son aunt boss")
FIRM_DID = _columns("""
    opened a new office in {LOC}; hired {PER} as a {job}; has built {number} houses near {LOC};
    announced profits; is a small company in {LOC}; signed a contract with {ORG}; sold its shares;
    bought {ORG}; dismissed {number} workers; will close its {thing} factory; won a prize; was
    founded by {PER}; moved from {LOC} to {LOC}; pays its {job}s well; published a report about
    {LOC}; may hire {number} {job}s; was closed; makes {look} {thing}s; sued {PER}
    | sent {PER} to {LOC}; may hire {number} workers; was bought by {ORG}; has its office in
    {LOC}; promised higher profits; opened a {thing} factory in {LOC}; gave {PER} a prize; signed
    a contract with {PER}""", ";")
OPENINGS = _columns("""
    In {DATE:period},; On {DATE:day},; In {LOC},; Yesterday; Soon; At last; Perhaps; Meanwhile,;
    After the war,; In the end,; Since {DATE},; Every {DATE:again}; Long ago,; Near {LOC},; At
    {ORG},; Before {DATE},; As {PER} wrote,; Once more; For {number} years,; Every morning;
    Strangely,; Of course,; In the {look} {thing},; Then; But; And; One day; Grace and beauty
    aside,; Frankly,; In {LOC} and {LOC}
    | Later; Finally,; After {DATE},; Around noon,; In {DATE:period},; In {LOC},; Last night;
    Still,; As a {job},; By {DATE},; Suddenly; With the {thing},""", ";")
WHO = _columns("""
    {PER}; {PER}; {PER}; {PER}; {PER}; {PER}; the {job}; the {job}; a {job}; {PER} and {PER};
    {PER}, a {job} from {LOC},; the {job} {PER}; {PER} of {ORG}; a {job} from {LOC}; {PER}'s
    {relative}; my {relative} {PER}; nobody; she; we; they; the people of {LOC}; a {look} {job};
    {number} {job}s; the {look} {job}; {PER}, the {job},; every {job} of {ORG}; {PER}, {PER} and
    {PER}
    | {PER}; {PER}; {PER}; that {job}; {PER} and a {job}; {PER} from {LOC}; {PER}'s {relative};
    two {job}s; my {relative}, {PER},; the {job} of {ORG}; {PER}, who came from {LOC},""", ";")
WHAT_THING = _columns("""
    a {look} {thing}; the {thing}; the {look} {thing}; {number} {thing}s; {PER}'s {thing}; the
    {thing} of {PER}; a {thing} from {LOC}; the {thing} and the {thing}; some {look} {thing}s; a
    {thing}
    | that {thing}; the {look} {thing} of {PER}; a {look} {thing}; a {thing} and a {thing}; two
    {thing}s from {LOC}; the {thing}""", ";")
DID = _columns("""
    {handled} {object}; {handled} {object}; {handled} {object}; {handled} {object}; {acted};
    {acted}; moved from {LOC} to {LOC}; worked for {ORG}; grew up in {LOC}; met {PER}; asked {PER}
    for {object}; gave {object} to {PER}; sold {object} to {ORG}; studied at {ORG}; wrote to {ORG}
    about {object}; married {PER}; traveled to {LOC}; lived in {LOC}; left {ORG}; joined {ORG};
    knew {PER} very well; worked as a {job}; became a {job}; came home from {LOC}; visited {PER};
    visited {LOC}; will travel to {LOC} by boat; may come to {LOC}; had seen {PER}; never liked
    {LOC}; thanked {PER} for {object}; told {PER} about {object}; showed {PER} {object}; had
    shares of {ORG}; saw {object} in {LOC}; spoke with {PER} about {LOC}; hired {PER}; felt happy;
    looked {look}; spoke at {ORG}; called {PER} a {job}; took the train to {LOC}
    | came from {LOC} and worked for {ORG}; {handled} {object}; {handled} {object}; {handled}
    {object}; {acted}; became a {job} at {ORG}; wrote to {PER} about {object}; bought shares of
    {ORG}; appeared in {LOC}; trusted {ORG}; grew up near {LOC}; got {object} from {PER}; met
    {PER} and {PER}; went to {LOC}; told {ORG} about {PER}; spoke of {LOC} and {LOC}; died in
    {LOC}; never went to {LOC}""", ";")
TAILS_OF_SENTENCES = _columns("""
    in {LOC}; on {DATE:day}; in {DATE:period}; near {LOC}; with {PER}; at {ORG}; for {number}
    years; before {DATE}; after the war; in {LOC} on {DATE:day}; in {LOC} in {DATE:period}; since
    {DATE}; until {DATE}; without {PER}; every {DATE:again}; because of {PER}; again; too; with a
    {look} {thing}; like a {job}; for {PER}; in the {look} {thing}
    | after {DATE}; on {DATE:day} in {LOC}; with {PER} and a {job}; by {DATE}; in {LOC}; near the
    {thing}; in {DATE:period}; from {DATE} to {DATE}; for {ORG}; at {ORG} in {LOC}""", ";")

# ---- dates

MONTHS = """January February March April May June July August September October November
    December""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
YEARS = ([year for year in range(1951, 2030) if year % 5], list(range(1955, 2030, 5)))
# Those that answer "on which day?", those that answer "in which time?", and those that come again.
DAY_FORMS = _columns("""
    {day} {month} {year}; {month} {day}, {year}; {weekday}; the {nth} of {month}; {month} {nth};
    {year}-{mm}-{dd}; {day}/{number}/{year}; {day}.{number}.{year}; {weekday} {part}; {day} {month};
    the {nth} of {month} {year}; {weekday}, the {nth} of {month}
    | {day} {month} {year}; {weekday}; {weekday}, {day} {month}; {month} the {nth};
    {day}.{number}.{year}; {weekday} {part}; the {nth} of {month} {year}; {day} {month}""", ";")
PERIOD_FORMS = _columns("""
    {month} {year}; {month}; {month}; {month}; {year}; {early} {month}; the {season} of {year};
    {month}, {year}
    | {month} {year}; {month}; {month}; {year}; {early} {month}; the {season} of {year};
    {early} {year}""", ";")
PARTS_OF_DAY = _columns("morning afternoon night | evening noon")
SEASONS = _columns("summer winter | spring autumn")
EARLY = _columns("early mid | late")
AGAIN_FORMS = (["{month}", "{weekday}"], ["{weekday}", "{month}"])

# ---- sentences

ENGLISH = ("""
{opening} {who} {did}{tail}.
{opening} {who} {did}{tail}.
{who} {did}{tail}.
{who} {did}{tail}.
{who} {did}.
{who} {did}{tail}, but {who} {did}.
{who} {did}, and {who} {did}{tail}.
{ORG} {firm_did}{tail}.
{opening} {ORG} {firm_did}.
{who} said that {who} {did}{tail}.
{who} said that {ORG} {firm_did}.
"The {thing} is {look}," said {PER}.
"{opening} {who} {did}," wrote {PER}{tail}.
"{PER} {did}," said the {job}{tail}.
The {thing} of {PER} was {look}{tail}.
The {thing} of the {job} was {look}{tail}.
They sold {object} in {LOC}{tail}.
The {thing} cost {number} crowns, and the {job} was not happy.
{LOC} lies south of {LOC}.
{LOC} has {number} bridges and a {look} {thing}.
The road from {LOC} to {LOC} is {look}{tail}.
The capital of {LOC} is {look}.
Snow fell in {LOC}{tail}.
It may rain in {LOC}{tail}.
The {thing}s of {LOC} are {look}{tail}.
Profits of {ORG} rose{tail}.
Shares of {ORG} fell{tail}.
A spokesman for {ORG} said that the {thing} was {look}.
May I ask {PER} about {object}?
May {who} see {object}?
Will {who} come to {LOC}?
When will {PER} mark the {look} {thing} with a stone?
Where is {PER}? Where did {PER} put {object}?
Did {PER} see {PER} in {LOC}?
Dear {PER}, thank you for {object}.
Come to {LOC} in {DATE:period}, wrote {PER}.
They march through {LOC} every {DATE:again}.
The letter from {PER} arrived{tail}.
The meeting is on {DATE:day} at {ORG}.
Her name is {PER}, and she lives in {LOC}.
It was {DATE:day} when {who} {acted}.
Young and old came to see the {look} {thing} in {LOC}.
A {look} stone lay on the two banks of the river.
The bill of the {job} was {number} crowns.
A rose, a {thing} and a {thing} lay in the field.
There is a {look} {thing} in {LOC}.
Neither {PER} nor {PER} {acted}{tail}.
Not {PER} but {PER} {did}.
If {who} {did}, {who} {did}.
{who} {did} because {who} {acted}.
While {who} {acted}, {PER} {did}.
{who} {did}, thought {PER}.
{ORG} {firm_did}, as {PER} wrote.
The {thing} belongs to {PER}; the {thing} belongs to {ORG}.
This {thing} is from {LOC}, and that {thing} from {LOC}.
Look, {PER} {acted}!
Ask {PER} about {LOC}.
{LOC}, {LOC} and {LOC} are far away.
The {job} and the {job} drank tea by the {thing}.
They ate with the {job} and talked of the {look} {thing}.
After {DATE}, {who} {did}; until then, {who} {did}.
Nobody in {LOC} has seen {PER} since {DATE}.
""", """
{opening} {who} {did}{tail}, so {who} {did}.
{opening} {who} {did}; {who} {acted}.
{who} {did}{tail}; the {job} {did}.
Why {who} {did}{tail}, nobody knows.
{who} {did}{tail}, and {ORG} {firm_did}.
{ORG} {firm_did}{tail}, said {PER}.
The {job} said that {ORG} {firm_did}.
"I may be late," wrote {PER} on {DATE:day}.
May the {job} see {object}?
{PER} will not sell the {thing} before {DATE}.
The bill for the {thing} came from {ORG}.
Rain and snow fell on the road to {LOC}.
A letter to {PER} about the {look} {thing} was sold in {LOC}.
Thank you, {PER}, for your letter of {DATE:day}.
From {LOC} we took the train to {LOC}.
Until {DATE}, nobody knew {PER}.
The {thing} of the {job} was {look} and cost {number} crowns.
{PER}'s company, {ORG}, is in {LOC}.
They sang for the {job} and drank to the {look} {thing}.
Every {DATE:again} the people of {LOC} march with a {look} {thing}.
Was {PER} a {job} in {LOC}?
His name was {PER}, and he came from {LOC}.
Nobody asked {PER}, but {PER} {acted}.
{LOC} is far from {LOC}.
""")

# ---- Chinese

SURNAMES = _columns("王 李 张 刘 陈 杨 赵 黄 周 吴 林 高 郑 何 | 王 李 张 刘 徐 孙 胡 朱 郭 马")
GIVEN = ("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英建国文华玉兰秀珍海燕春梅志红晓东立新永健"
         "小龙云飞雪峰佳慧婷婉琳博睿思远子墨天佑家豪", "鑫怡晨宇浩轩雨欣梓涵若曦景行安然书瑶承泽")
CHINESE_PLACES = _columns("""
    北京 上海 广州 深圳 天津 重庆 西安 南京 武汉 沈阳 大连 济南 河南 山东 四川 日本 法国 德国 英国 江西
    | 成都 杭州 苏州 青岛 长沙 昆明 厦门 云南 湖北 意大利 加拿大""")
CHINESE_BRANDS = _columns("华新 东方 长城 红星 大江 光明 金石 北方 | 蓝天 远航 银河 青松 白鹭 联创")
CHINESE_KINDS = _columns("大学 银行 公司 医院 博物馆 电视台 | 大学 公司 医院 出版社 图书馆 航空公司")
CHINESE_JOBS = _columns("老师 医生 工人 司机 学生 厨师 律师 记者 | 护士 演员 农民 经理 画家")
CHINESE_THINGS = _columns("书 信 苹果 自行车 地图 画 衣服 电脑 | 手机 雨伞 钢琴 照片 茶杯")
CHINESE_DATES = _columns("""
    {year}年{number}月{day}日 {number}月{day}日 {year}年 去年 {number}月 星期{weekday} 上周{weekday} 昨天
    | {year}年{number}月 {number}月{day}日 {year}年{number}月{day}日 下周{weekday} 前天 星期{weekday}""")
CHINESE = ("""
{PER}{DATE}去了{LOC}。
{PER}是{LOC}人，在{ORG}工作。
{DATE}，{PER}在{LOC}见到了{PER}。
{ORG}在{LOC}有{number}个分店。
{PER}说：“我喜欢{thing}。”
{job}{PER}住在{LOC}。
{DATE}{ORG}请{PER}当{job}。
{PER}从{LOC}到{LOC}去买{thing}。
那个{job}给{PER}写了一封信。
{LOC}{DATE}下了大雪。
{PER}和{PER}是{ORG}的{job}。
我{DATE}在{LOC}买了一个{thing}。
{ORG}的{job}说{thing}很好。
你知道{PER}在哪里吗？
{PER}毕业于{ORG}。
从{LOC}来的{job}没有{thing}。
{DATE}的会议在{ORG}举行。
{LOC}的{thing}很有名。
{PER}和{PER}都是{job}。
{ORG}在{LOC}。
{job}说{PER}去了{LOC}。
{job}说{DATE}很冷。
{LOC}离{LOC}很远。
{DATE}{LOC}很冷。
这个{thing}是{PER}的。
{ORG}的{thing}很贵。
{PER}为{PER}唱了一首歌。
请问{ORG}在哪里？
{job}喜欢{thing}和{thing}。
{PER}在{ORG}学习{thing}。
那个{job}和这个{job}都没有{thing}。
{LOC}的{job}写了一本书。
""", """
{DATE}，{PER}从{LOC}来到{ORG}工作。
{PER}给{PER}买了一个{thing}。
{ORG}的{PER}住在{LOC}。
{job}说{LOC}{DATE}有大雪。
{PER}喜欢{LOC}的{thing}。
我和{PER}{DATE}去{ORG}。
那个{thing}是{ORG}的。
{LOC}的{job}请{PER}写信。
""")


def _lines(block):
    return [line for line in block.split("\n") if line]


TEMPLATES = tuple(_lines(block) for block in ENGLISH)
CHINESE_TEMPLATES = tuple(_lines(block) for block in CHINESE)


def english_fillers(column):
    """-> {slot: filler} of the training words, column 0, or of the test words, column 1"""

    def ambiguous(words):
        return words[0] + (words[1] if column else [])

    def new(lists, rng):
        return either(column, lists)(rng)

    def first(rng):
        rare = rng.random() < SHARE_OF_AMBIGUOUS
        return pick(rng, ambiguous(AMBIGUOUS_FIRST)) if rare else new(FIRST, rng)

    def last(rng):
        kind = rng.random()
        if kind < SHARE_OF_AMBIGUOUS:
            return pick(rng, ambiguous(AMBIGUOUS_LAST))
        return new(LAST if kind < 0.6 else INVENTED_LAST, rng)

    def person(rng):
        kind = rng.random()
        if kind < 0.4:
            return f"{first(rng)} {last(rng)}"
        if kind < 0.7:
            return first(rng)
        if kind < 0.8:
            return f"{first(rng)[0]}. {last(rng)}"
        return f"{pick(rng, TITLES[column])} {last(rng)}" if kind < 0.9 else last(rng)

    def place(rng):
        kind = rng.random()
        if kind < SHARE_OF_AMBIGUOUS:
            return pick(rng, ambiguous(AMBIGUOUS_PLACES))
        if kind < 0.6:
            return new(PLACES, rng)
        return new(INVENTED_PLACES if kind < 0.85 else TWO_WORD_PLACES, rng)

    def organization(rng):
        kind = rng.random()
        if kind < 0.15:
            return pick(rng, ambiguous(AMBIGUOUS_BRANDS))
        if kind < 0.3:
            return new(BRANDS, rng)
        if kind < 0.5:
            return f"{new(BRANDS, rng)} {new(KINDS, rng)}"
        if kind < 0.65:
            return f"{place(rng)} {new(KINDS, rng)}"
        if kind < 0.75:
            return f"University of {place(rng)}"
        if kind < 0.85:
            return f"{last(rng)} {pick(rng, ['& Sons', 'and Sons', '& Co.'])}"
        return f"{new(HEADS, rng)} {new(TAILS, rng)}"

    def date(forms, rng):
        day, number = int(rng.integers(1, 29)), int(rng.integers(1, 13))
        return fill_labelled(rng, pick(rng, forms), {
            "day": [str(day)], "number": [str(number)], "month": MONTHS, "weekday": DAYS,
            "year": [str(new(YEARS, rng))], "mm": [f"{number:02}"], "dd": [f"{day:02}"],
            "nth": [ordinal(day)], "part": either(column, PARTS_OF_DAY),
            "season": either(column, SEASONS), "early": either(column, EARLY)})[0]

    def tail(rng):
        return "" if rng.random() < 0.4 else f" {pick(rng, TAILS_OF_SENTENCES[column])}"

    words = {slot: either(column, lists) for slot, lists in (
        ("job", JOBS), ("thing", THINGS), ("look", LOOKS), ("relative", RELATIVES),
        ("handled", HANDLED), ("acted", ACTED))}
    phrases = {slot: lists[column] for slot, lists in (
        ("who", WHO), ("object", WHAT_THING), ("did", DID), ("firm_did", FIRM_DID),
        ("opening", OPENINGS))}
    dates = {"day": DAY_FORMS[column], "period": PERIOD_FORMS[column], "again": AGAIN_FORMS[column],
             "DATE": [*DAY_FORMS[column], *PERIOD_FORMS[column]]}
    return {"PER": person, "LOC": place, "ORG": organization, "tail": tail, **words, **phrases,
            **{slot: partial(date, forms) for slot, forms in dates.items()},
            "number": lambda rng: str(rng.integers(2, 90))}


def ordinal(day):
    """-> "1st", "2nd", "3rd", "4th", … "11th", … "21st" """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{'th' if 10 < day < 14 else ending}"


def chinese_fillers(column):
    """-> {slot: filler} for the Chinese templates"""

    def new(lists, rng):
        return either(column, lists)(rng)

    def person(rng):
        given = "".join(new(GIVEN, rng) for _ in range(1 + (rng.random() < 0.7)))
        return new(SURNAMES, rng) + given

    def organization(rng):
        names = CHINESE_PLACES if rng.random() < 0.5 else CHINESE_BRANDS
        return new(names, rng) + new(CHINESE_KINDS, rng)

    def date(rng):
        return fill_labelled(rng, new(CHINESE_DATES, rng), {
            "year": [str(new(YEARS, rng))], "number": [str(rng.integers(1, 13))],
            "day": [str(rng.integers(1, 29))], "weekday": list("一二三四五六")})[0]

    return {"PER": person, "LOC": either(column, CHINESE_PLACES), "ORG": organization, "DATE": date,
            "job": either(column, CHINESE_JOBS), "thing": either(column, CHINESE_THINGS),
            "number": lambda rng: str(rng.integers(2, 30))}


def draw(rng, split):
    """-> {"text": …, "spans": [[start, end, label], …]}, one or two sentences"""
    column, chinese = COLUMN[split], rng.random() < SHARE_OF_CHINESE
    templates = (CHINESE_TEMPLATES if chinese else TEMPLATES)[column]
    fillers = (chinese_fillers if chinese else english_fillers)(column)
    sentences = [fill_labelled(rng, pick(rng, templates), fillers)
                 for _ in range(int(rng.integers(1, 3)))]
    text, spans = join_labelled([(capitalized(words), labels) for words, labels in sentences],
                                "" if chinese else " ")
    if rng.random() < SHARE_OF_LOWER_CASE:
        text = text.lower()  # no letter of these texts changes its length
    return {"text": text, "spans": spans}


def capitalized(text):
    """-> the text with a capital for its first letter, also after a quotation mark"""
    place = 1 if text[:1] == '"' else 0
    return text[:place] + text[place : place + 1].upper() + text[place + 1 :]


def generate(n, seed):
    """-> {"train": examples, "valid": examples, "test": examples}, n different ones in all"""
    return generate_splits(n, np.random.default_rng(seed), draw, lambda example: example["text"])
