"""Tables of numbers and categories, as text files: a table."""

# ruff: noqa: E501 - one line for each dataset
from aexp_torch.catalog.hubs.table import Group, entries_of

__all__ = ["ENTRIES"]

UCI = "https://archive.ics.uci.edu/static/public"
CC = "CC-BY-4.0"

# fmt: off
GROUPS = [
    Group("tabular.classification", "Say which class the row is of.", [
        ("adult", f"{UCI}/2/adult.zip", "age:number education_num:number capital_gain:number capital_loss:number hours:number workclass:text(24) education:text(16) marital:text(24) occupation:text(24) relationship:text(16) race:text(24) sex:class(Female|Male) country:text(32) income:class(<=50K|>50K)", CC, None, "who earns more than 50,000 dollars, census of 1994", "Becker and Kohavi 1996", {"columns": "age workclass fnlwgt education education_num marital occupation relationship race sex capital_gain capital_loss hours country income", "members": {"train": "adult.data"}}),
        ("covertype", f"{UCI}/31/covertype.zip", "x:numbers(54) label:class(1|2|3|4|5|6|7)", CC, None, "which trees grow there", "Blackard 1998", {"columns": "x:54 label", "members": {"train": "covtype.data.gz"}}),
        ("letter-recognition", f"{UCI}/59/letter+recognition.zip", "x:numbers(16) letter:class(A|B|C|D|E|F|G|H|I|J|K|L|M|N|O|P|Q|R|S|T|U|V|W|X|Y|Z)", CC, None, "letters, by 16 features", "Slate 1991", {"columns": "letter x:16", "members": {"train": "letter-recognition.data"}}),
        ("spambase", f"{UCI}/94/spambase.zip", "x:numbers(57) spam:class(2)", CC, None, "which e-mails are spam", "Hopkins et al. 1999", {"columns": "x:57 spam", "members": {"train": "spambase.data"}}),
        ("mushroom", f"{UCI}/73/mushroom.zip", "x:texts(22,1) poisonous:class(e|p)", CC, None, "which mushrooms are poisonous", "1981", {"columns": "poisonous x:22", "members": {"train": "agaricus-lepiota.data"}}),
        ("car-evaluation", f"{UCI}/19/car+evaluation.zip", "buying:class(vhigh|high|med|low) maint:class(vhigh|high|med|low) doors:class(2|3|4|5more) persons:class(2|4|more) lug_boot:class(small|med|big) safety:class(low|med|high) acceptability:class(unacc|acc|good|vgood)", CC, None, "which cars are acceptable", "Bohanec 1997", {"columns": "buying maint doors persons lug_boot safety acceptability", "members": {"train": "car.data"}}),
        ("pen-digits", f"{UCI}/81/pen+based+recognition+of+handwritten+digits.zip", "x:numbers(16) digit:class(10)", CC, None, "digits written with a pen, as 8 points", "Alpaydin and Alimoglu 1998", {"columns": "x:16 digit", "members": {"train": "pendigits.tra", "test": "pendigits.tes"}}),
        ("statlog-shuttle", f"{UCI}/148/statlog+shuttle.zip", "x:numbers(9) state:class(1|2|3|4|5|6|7)", CC, None, "states of radiators of the space shuttle", "Catlett", {"columns": "x:9 state", "members": {"test": "shuttle.tst"}, "delimiter": " ", "split": "test"}),
        ("magic-telescope", f"{UCI}/159/magic+gamma+telescope.zip", "x:numbers(10) kind:class(g|h)", CC, None, "gamma rays or hadrons", "Bock 2007", {"columns": "x:10 kind", "members": {"train": "magic04.data"}}),
        ("bank-notes", f"{UCI}/267/banknote+authentication.zip", "x:numbers(4) forged:class(2)", CC, None, "which bank notes are forged", "Lohweg 2013", {"columns": "x:4 forged", "members": {"train": "data_banknote_authentication.txt"}}),
        ("poker-hand", f"{UCI}/158/poker+hand.zip", "x:numbers(10) hand:class(10)", CC, None, "which hand of poker it is", "Cattral and Oppacher 2007", {"columns": "x:10 hand", "members": {"train": "poker-hand-training-true.data", "test": "poker-hand-testing.data"}}),
        ("nursery", f"{UCI}/76/nursery.zip", "x:texts(8,16) rank:class(not_recom|recommend|very_recom|priority|spec_prior)", CC, None, "who is admitted to a nursery school", "Rajkovic 1997", {"columns": "x:8 rank", "members": {"train": "nursery.data"}}),
        ("tic-tac-toe", f"{UCI}/101/tic+tac+toe+endgame.zip", "board:texts(9,1) x_wins:class(negative|positive)", CC, None, "has x won", "Aha 1991", {"columns": "board:9 x_wins", "members": {"train": "tic-tac-toe.data"}}),
    ]),
    Group("tabular.regression", "Predict the number.", [
        ("california-housing", "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz", "x:numbers(8) value:number", "", None, "median values of houses, census of 1990", "Pace and Barry 1997", {"columns": "x:8 value", "members": {"train": "cal_housing.data"}}),
        ("wine-quality-red", f"{UCI}/186/wine+quality.zip", "x:numbers(11) quality:number", CC, None, "how good red wines are", "Cortez et al. 2009", {"columns": "x:11 quality", "members": {"train": "winequality-red.csv"}, "delimiter": ";", "header": True}),
        ("wine-quality-white", f"{UCI}/186/wine+quality.zip", "x:numbers(11) quality:number", CC, None, "how good white wines are", "Cortez et al. 2009", {"columns": "x:11 quality", "members": {"train": "winequality-white.csv"}, "delimiter": ";", "header": True}),
        ("abalone", f"{UCI}/1/abalone.zip", "sex:class(M|F|I) x:numbers(7) rings:number", CC, None, "how old a snail is", "Nash et al. 1994", {"columns": "sex x:7 rings", "members": {"train": "abalone.data"}}),
        ("airfoil-noise", f"{UCI}/291/airfoil+self+noise.zip", "x:numbers(5) decibels:number", CC, None, "noise of wings", "Brooks et al. 1989", {"columns": "x:5 decibels", "members": {"train": "airfoil_self_noise.dat"}, "delimiter": " "}),
        ("year-prediction", f"{UCI}/203/yearpredictionmsd.zip", "x:numbers(90) year:number", CC, None, "when a song was made", "Bertin-Mahieux et al. 2011", {"columns": "year x:90", "members": {"train": "YearPredictionMSD.txt"}}),
    ]),
]
# fmt: on

ENTRIES = entries_of("csv", "aexp_torch.catalog.hubs.csv:from_csv", None, (), GROUPS)
