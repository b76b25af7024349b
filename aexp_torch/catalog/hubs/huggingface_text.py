"""Text on the Hugging Face hub: a table, by kind of task as FLAN groups them (Wei et al. 2021)."""

# ruff: noqa: E501 - one line for each dataset
from aexp_torch.catalog.hubs.table import Group, entries_of

__all__ = ["ENTRIES"]

GLUE, SUPER_GLUE = "nyu-mll/glue", "aps/super_glue"
ANLI = "premise:text(512) hypothesis:text label:class(3)"
NLI = "premise:text hypothesis:text label:class(3)?"
QA = "question:text(256) answer=answer.value:text(64)"
SQUAD = "context:text(2048) question:text answer=answers.text.0:text(128)"
ARC = "question:text(512) choices=choices.text:texts(5,128) answerKey:class(A/1|B/2|C/3|D/4|E/5)"
NO_TEST = {"splits": "train validation"}

# fmt: off
GROUPS = [
    Group("text.inference", "Say whether the hypothesis follows from the premise, contradicts it, or neither.", [
        ("anli-r1", "facebook/anli", ANLI, "CC-BY-NC-4.0", None, "adversarial inference, round 1", "Nie et al. 2020, arXiv:1910.14599", {"config": "plain_text", "splits": "train_r1 dev_r1 test_r1"}),
        ("anli-r2", "facebook/anli", ANLI, "CC-BY-NC-4.0", None, "adversarial inference, round 2", "Nie et al. 2020, arXiv:1910.14599", {"config": "plain_text", "splits": "train_r2 dev_r2 test_r2"}),
        ("anli-r3", "facebook/anli", ANLI, "CC-BY-NC-4.0", None, "adversarial inference, round 3", "Nie et al. 2020, arXiv:1910.14599", {"config": "plain_text", "splits": "train_r3 dev_r3 test_r3"}),
        ("rte", GLUE, "sentence1:text(1024) sentence2:text label:class(2)?", "", 1_274_409, "recognizing textual entailment", "Dagan et al. 2006; Wang et al. 2018, arXiv:1804.07461", {"config": "rte"}),
        ("cb", SUPER_GLUE, "premise:text(1024) hypothesis:text label:class(3)?", "", None, "CommitmentBank: does the speaker believe it", "de Marneffe et al. 2019; Wang et al. 2019, arXiv:1905.00537", {"config": "cb"}),
        ("snli", "stanfordnlp/snli", NLI, "CC-BY-SA-4.0", None, "570,000 pairs about pictures", "Bowman et al. 2015, arXiv:1508.05326", {"config": "plain_text"}),
        ("mnli", GLUE, "premise:text(512) hypothesis:text label:class(3)?", "", 57_168_425, "pairs of ten genres", "Williams et al. 2018, arXiv:1704.05426", {"config": "mnli", "splits": "train validation_matched validation_mismatched"}),
        ("qnli", GLUE, "question:text sentence:text(512) label:class(2)?", "CC-BY-SA-4.0", 19_278_324, "does the sentence answer the question", "Rajpurkar et al. 2016; Wang et al. 2018, arXiv:1804.07461", {"config": "qnli"}),
        ("wnli", GLUE, "sentence1:text(384) sentence2:text label:class(2)?", "", 63_522, "Winograd schemas as inference", "Levesque et al. 2012; Wang et al. 2018, arXiv:1804.07461", {"config": "wnli"}),
        ("ax-b", SUPER_GLUE, "sentence1:text(512) sentence2:text(512) label:class(2)?", "", None, "broad coverage diagnostics", "Wang et al. 2019, arXiv:1905.00537", {"config": "axb", "splits": "test"}),
        ("ax-g", SUPER_GLUE, "premise:text hypothesis:text label:class(2)?", "", None, "Winogender diagnostics", "Rudinger et al. 2018, arXiv:1804.09301", {"config": "axg", "splits": "test"}),
        ("xnli-de", "facebook/xnli", NLI, "CC-BY-NC-4.0", None, "MNLI in German", "Conneau et al. 2018, arXiv:1809.05053", {"config": "de", "language": "de"}),
        ("xnli-fr", "facebook/xnli", NLI, "CC-BY-NC-4.0", None, "MNLI in French", "Conneau et al. 2018, arXiv:1809.05053", {"config": "fr", "language": "fr"}),
        ("xnli-zh", "facebook/xnli", NLI, "CC-BY-NC-4.0", None, "MNLI in Chinese", "Conneau et al. 2018, arXiv:1809.05053", {"config": "zh", "language": "zh"}),
        ("scitail", "allenai/scitail", "premise:text(512) hypothesis:text label:class(entails|neutral)", "Apache-2.0", None, "inference from science questions", "Khot et al. 2018", {"config": "tsv_format"}),
    ]),
    Group("text.commonsense", "Choose what makes sense.", [
        ("copa", SUPER_GLUE, "premise:text choice1:text choice2:text question:class(cause|effect) label:class(2)?", "BSD-2-Clause", None, "which is the cause, which the effect", "Roemmele et al. 2011", {"config": "copa"}),
        ("hellaswag", "Rowan/hellaswag", "ctx:text(512) endings:texts(4,256) label:class(0|1|2|3)?", "MIT", None, "how a situation goes on", "Zellers et al. 2019, arXiv:1905.07830", {}),
        ("piqa", "ybisk/piqa", "goal:text sol1:text(512) sol2:text(512) label:class(2)?", "AFL-3.0", None, "which way to a goal works", "Bisk et al. 2020, arXiv:1911.11641", {"config": "plain_text"}),
        ("storycloze", "LSDSem/story_cloze", "InputSentence1:text InputSentence2:text InputSentence3:text InputSentence4:text RandomFifthSentenceQuiz1:text RandomFifthSentenceQuiz2:text AnswerRightEnding:class(1|2)", "", None, "which of two sentences ends a story", "Mostafazadeh et al. 2016, arXiv:1604.01696", {"config": "2016", "splits": "validation test", "by_hand": "Ask for it at https://cs.rochester.edu/nlp/rocstories/, a CSV file for each split.", "home": "https://cs.rochester.edu/nlp/rocstories/"}),
        ("commonsense-qa", "tau/commonsense_qa", "question:text choices=choices.text:texts(5,64) answerKey:class(A|B|C|D|E)?", "MIT", None, "questions with five choices", "Talmor et al. 2019, arXiv:1811.00937", {}),
        ("social-iqa", "allenai/social_i_qa", "context:text question:text answerA:text(128) answerB:text(128) answerC:text(128) label:class(1|2|3)", "", None, "why people do what they do", "Sap et al. 2019, arXiv:1904.09728", NO_TEST),
        ("swag", "allenai/swag", "startphrase:text ending0:text ending1:text ending2:text ending3:text label:class(4)?", "MIT", None, "what happens next", "Zellers et al. 2018, arXiv:1808.05326", {"config": "regular"}),
    ]),
    Group("text.sentiment text.classification", "Say whether the text is positive or negative.", [
        ("imdb", "stanfordnlp/imdb", "text:text(2048) label:class(2)", "", 83_446_840, "film reviews", "Maas et al. 2011", {"config": "plain_text", "splits": "train test"}),
        ("sentiment140", "stanfordnlp/sentiment140", "text:text sentiment:class(0|2|4)", "", None, "1.6 million tweets", "Go et al. 2009", {"config": "sentiment140", "splits": "train test"}),
        ("sst2", GLUE, "sentence:text(384) label:class(2)?", "", None, "sentences of film reviews", "Socher et al. 2013; Wang et al. 2018, arXiv:1804.07461", {"config": "sst2"}),
        ("yelp-polarity", "fancyzhx/yelp_polarity", "text:text(2048) label:class(2)", "", None, "reviews of businesses", "Zhang et al. 2015, arXiv:1509.01626", {"config": "plain_text", "splits": "train test"}),
        ("yelp-full", "Yelp/yelp_review_full", "text:text(2048) label:class(5)", "", None, "reviews of businesses, one to five stars", "Zhang et al. 2015, arXiv:1509.01626", {"config": "yelp_review_full", "splits": "train test"}),
        ("rotten-tomatoes", "cornell-movie-review-data/rotten_tomatoes", "text:text(320) label:class(2)", "", None, "sentences of film reviews", "Pang and Lee 2005", {}),
        ("amazon-polarity", "fancyzhx/amazon_polarity", "title:text content:text(1024) label:class(2)", "Apache-2.0", None, "reviews of products", "Zhang et al. 2015, arXiv:1509.01626", {"config": "amazon_polarity", "splits": "train test"}),
        ("financial-phrasebank", "takala/financial_phrasebank", "sentence:text(512) label:class(3)", "CC-BY-NC-SA-3.0", None, "news of companies", "Malo et al. 2014, arXiv:1307.5336", {"config": "sentences_allagree", "splits": "train"}),
        ("tweet-emotion", "cardiffnlp/tweet_eval", "text:text label:class(4)", "", None, "emotions of tweets", "Mohammad et al. 2018; Barbieri et al. 2020, arXiv:2010.12421", {"config": "emotion"}),
        ("go-emotions", "google-research-datasets/go_emotions", "text:text labels:classes(28)", "Apache-2.0", None, "28 emotions of comments", "Demszky et al. 2020, arXiv:2005.00547", {"config": "simplified"}),
    ]),
    Group("text.paraphrase text.similarity", "Say whether the two texts mean the same.", [
        ("mrpc", GLUE, "sentence1:text sentence2:text label:class(2)", "", 1_033_400, "sentences of news", "Dolan and Brockett 2005; Wang et al. 2018, arXiv:1804.07461", {"config": "mrpc"}),
        ("qqp", GLUE, "question1:text question2:text label:class(2)?", "", 73_982_265, "questions of Quora", "Wang et al. 2018, arXiv:1804.07461", {"config": "qqp"}),
        ("paws", "google-research-datasets/paws", "sentence1:text sentence2:text label:class(2)", "", None, "the same words in another order", "Zhang et al. 2019, arXiv:1904.01130", {"config": "labeled_final"}),
        ("stsb", GLUE, "sentence1:text(384) sentence2:text(384) label:number", "", 766_983, "likeness from 0 to 5", "Cer et al. 2017; Wang et al. 2018, arXiv:1804.07461", {"config": "stsb"}),
        ("paws-x-de", "google-research-datasets/paws-x", "sentence1:text sentence2:text label:class(2)", "", None, "PAWS in German", "Yang et al. 2019, arXiv:1908.11828", {"config": "de", "language": "de"}),
    ]),
    Group("text.qa.closed_book", "Answer the question.", [
        ("arc-easy", "allenai/ai2_arc", ARC, "CC-BY-SA-4.0", None, "science questions of schools, the easy ones", "Clark et al. 2018, arXiv:1803.05457", {"config": "ARC-Easy"}),
        ("arc-challenge", "allenai/ai2_arc", ARC, "CC-BY-SA-4.0", None, "science questions of schools, the hard ones", "Clark et al. 2018, arXiv:1803.05457", {"config": "ARC-Challenge"}),
        ("natural-questions", "google-research-datasets/nq_open", "question:text answer=answer.0:text(64)", "CC-BY-SA-3.0", None, "questions that people asked a search engine", "Kwiatkowski et al. 2019; Lee et al. 2019, arXiv:1906.00300", {"config": "nq_open", **NO_TEST}),
        ("trivia-qa", "mandarjoshi/trivia_qa", QA, "", None, "trivia questions, without documents", "Joshi et al. 2017, arXiv:1705.03551", {"config": "unfiltered.nocontext"}),
        ("web-questions", "stanfordnlp/web_questions", "question:text answer=answers.0:text(64)", "", None, "questions about Freebase", "Berant et al. 2013", {"splits": "train test"}),
        ("truthful-qa", "truthfulqa/truthful_qa", "question:text best_answer:text", "Apache-2.0", None, "questions that people answer wrongly", "Lin et al. 2021, arXiv:2109.07958", {"config": "generation", "splits": "validation"}),
        ("mmlu", "cais/mmlu", "question:text(1024) choices:texts(4,256) answer:class(4)", "MIT", None, "exams in 57 subjects", "Hendrycks et al. 2021, arXiv:2009.03300", {"config": "all", "splits": "auxiliary_train validation test dev"}),
        ("sciq", "allenai/sciq", "question:text correct_answer:text(128) distractor1:text(128) distractor2:text(128) distractor3:text(128)", "CC-BY-NC-3.0", None, "science exam questions", "Welbl et al. 2017, arXiv:1707.06209", {"target": "correct_answer"}),
        ("hotpot-qa", "hotpotqa/hotpot_qa", "question:text answer:text(128)", "CC-BY-SA-4.0", None, "questions that need two articles", "Yang et al. 2018, arXiv:1809.09600", {"config": "distractor", **NO_TEST}),
    ]),
    Group("text.struct_to_text text.generation", "Say in a sentence what the data says.", [
        ("common-gen", "allenai/common_gen", "concepts:texts(6,32) target:text", "MIT", None, "a sentence with these words", "Lin et al. 2020, arXiv:1911.03705", {}),
        ("dart", "GEM/dart", "tripleset:texts(8,256) target:text(512)", "MIT", None, "triples of open domains", "Nan et al. 2021, arXiv:2007.02871", {}),
        ("e2e-nlg", "tuetschek/e2e_nlg", "meaning_representation:text human_reference:text(384)", "CC-BY-SA-4.0", None, "restaurants", "Novikova et al. 2017, arXiv:1706.09254", {}),
        ("web-nlg", "GEM/web_nlg", "input:texts(7,128) target:text(512)", "CC-BY-NC-SA-4.0", None, "triples of DBpedia", "Gardent et al. 2017", {"config": "en"}),
        ("wiki-bio", "michaelauli/wiki_bio", "content=input_text.table.content:texts(20,64) target_text:text(1024)", "CC-BY-SA-3.0", None, "first sentences of biographies", "Lebret et al. 2016, arXiv:1603.07771", {"splits": "train val test"}),
        ("totto", "GEM/totto", "linearized_input:text(1024) target:text", "CC-BY-SA-3.0", None, "a sentence for highlighted cells of a table", "Parikh et al. 2020, arXiv:2004.14373", {}),
    ]),
    Group("text.reading_comprehension", "Read the text and answer the question.", [
        ("boolq", SUPER_GLUE, "passage:text(2048) question:text(128) label:class(2)?", "CC-BY-SA-3.0", None, "yes or no", "Clark et al. 2019, arXiv:1905.10044", {"config": "boolq"}),
        ("drop", "ucinlp/drop", "passage:text(4096) question:text answer=answers_spans.spans.0:text(128)", "CC-BY-4.0", None, "questions that need counting and sums", "Dua et al. 2019, arXiv:1903.00161", NO_TEST),
        ("multirc", SUPER_GLUE, "paragraph:text(4096) question:text answer:text label:class(2)?", "", None, "is this one of the answers", "Khashabi et al. 2018", {"config": "multirc"}),
        ("openbookqa", "allenai/openbookqa", "question=question_stem:text choices=choices.text:texts(4,128) answerKey:class(A|B|C|D)", "", None, "elementary science", "Mihaylov et al. 2018, arXiv:1809.02789", {"config": "main"}),
        ("squad", "rajpurkar/squad", SQUAD, "CC-BY-SA-4.0", 16_278_203, "questions about articles of Wikipedia", "Rajpurkar et al. 2016, arXiv:1606.05250", {"config": "plain_text", **NO_TEST}),
        ("squad-v2", "rajpurkar/squad_v2", SQUAD, "CC-BY-SA-4.0", 17_698_683, "the same, some without an answer", "Rajpurkar et al. 2018, arXiv:1806.03822", {"config": "squad_v2", **NO_TEST}),
        ("race", "ehovy/race", "article:text(4096) question:text options:texts(4,128) answer:class(A|B|C|D)", "", None, "English exams", "Lai et al. 2017, arXiv:1704.04683", {"config": "all"}),
        ("quail", "textmachinelab/quail", "context:text(4096) question:text answers:texts(4,128) correct_answer_id:class(4)", "CC-BY-NC-SA-4.0", None, "nine kinds of questions", "Rogers et al. 2020", {"config": "quail", "splits": "train validation challenge"}),
        ("narrative-qa", "deepmind/narrativeqa", "summary=document.summary.text:text(8192) question=question.text:text answer=answers.0.text:text(256)", "Apache-2.0", None, "questions about stories", "Kocisky et al. 2018, arXiv:1712.07040", {}),
        ("pubmed-qa", "qiaojin/PubMedQA", "question:text context=context.contexts:texts(6,1024) final_decision:class(yes|no|maybe)", "MIT", None, "questions about abstracts of medicine", "Jin et al. 2019, arXiv:1909.06146", {"config": "pqa_labeled", "splits": "train"}),
        ("adversarial-qa", "UCLNLP/adversarial_qa", SQUAD, "CC-BY-SA-4.0", None, "questions that models answered wrongly", "Bartolo et al. 2020, arXiv:2002.00293", {"config": "adversarialQA"}),
    ]),
    Group("text.reading_comprehension.commonsense text.commonsense", "Read the text, think what is not said, and answer.", [
        ("cosmos-qa", "allenai/cosmos_qa", "context:text(1024) question:text answer0:text answer1:text answer2:text answer3:text label:class(4)?", "CC-BY-4.0", None, "why, and what may follow", "Huang et al. 2019, arXiv:1909.00277", {}),
        ("record", SUPER_GLUE, "passage:text(2048) query:text(512) answer=answers.0:text(64)", "", None, "which name is missing", "Zhang et al. 2018, arXiv:1810.12885", {"config": "record", **NO_TEST}),
        ("quartz", "allenai/quartz", "para:text(512) question:text choices=choices.text:texts(2,64) answerKey:class(A|B)", "CC-BY-4.0", None, "qualitative relations", "Tafjord et al. 2019, arXiv:1909.03553", {}),
        ("ropes", "allenai/ropes", "background:text(2048) situation:text(1024) question:text answer=answers.text.0:text(64)", "CC-BY-4.0", None, "causes and effects, applied to a situation", "Lin et al. 2019, arXiv:1908.05852", {"config": "plain_text", **NO_TEST}),
    ]),
    Group("text.coreference text.commonsense", "Say whom or what the pronoun means.", [
        ("dpr", "coref-data/dpr_raw", "sentence:text pronoun:text(16) candidates:texts(2,64) label:class(2)", "", None, "definite pronouns", "Rahman and Ng 2012", {"splits": "train test"}),
        ("winogrande", "allenai/winogrande", "sentence:text option1:text(64) option2:text(64) answer:class(1|2)?", "CC-BY-4.0", None, "44,000 Winograd schemas", "Sakaguchi et al. 2019, arXiv:1907.10641", {"config": "winogrande_xl"}),
        ("wsc", SUPER_GLUE, "text:text(512) span1_text:text(64) span2_text:text(64) label:class(2)?", "", None, "Winograd schemas", "Levesque et al. 2012; Wang et al. 2019, arXiv:1905.00537", {"config": "wsc.fixed"}),
        ("wsc273", "ErnestSDavis/winograd_wsc", "text:text(384) pronoun:text(16) options:texts(2,64) label:class(2)", "CC-BY-4.0", None, "the original Winograd schemas", "Levesque et al. 2012", {"config": "wsc273", "splits": "test"}),
    ]),
    Group("text.dialogue text.reading_comprehension", "Answer the last question of the conversation.", [
        ("coqa", "stanfordnlp/coqa", "story:text(4096) questions:texts(20,128) answers=answers.input_text:texts(20,64)", "", None, "conversations about a text", "Reddy et al. 2019, arXiv:1808.07042", NO_TEST),
        ("quac", "allenai/quac", "context:text(4096) questions:texts(12,128) answers=orig_answers.texts:texts(12,256)", "MIT", None, "a student asks a teacher", "Choi et al. 2018, arXiv:1808.07036", {"config": "plain_text", **NO_TEST}),
        ("daily-dialog", "roskoN/dailydialog", "utterances:texts(12,256)", "CC-BY-NC-SA-4.0", None, "everyday conversations", "Li et al. 2017, arXiv:1710.03957", {"config": "full"}),
        ("persona-chat", "bavard/personachat_truecased", "personality:texts(5,128) history:texts(12,256) candidates:texts(20,128)", "", None, "conversations of people with a character", "Zhang et al. 2018, arXiv:1801.07243", {"config": "full", **NO_TEST}),
    ]),
    Group("text.word_sense text.misc", "Say whether the word means the same in both sentences.", [
        ("wic", SUPER_GLUE, "word:text(32) sentence1:text sentence2:text label:class(2)?", "CC-BY-NC-4.0", None, "words in context", "Pilehvar and Camacho-Collados 2019, arXiv:1808.09121", {"config": "wic"}),
    ]),
    Group("text.classification.question text.misc", "Say what kind of answer the question asks for.", [
        ("trec", "CogComp/trec", "text:text coarse_label:class(6)", "", None, "six kinds of questions", "Li and Roth 2002", {"splits": "train test"}),
        ("trec-fine", "CogComp/trec", "text:text fine_label:class(50)", "", None, "fifty kinds of questions", "Li and Roth 2002", {"splits": "train test"}),
    ]),
    Group("text.acceptability text.misc", "Say whether the sentence is good English.", [
        ("cola", GLUE, "sentence:text label:class(2)?", "", 326_394, "sentences of linguists", "Warstadt et al. 2019, arXiv:1805.12471", {"config": "cola"}),
        ("blimp", "nyu-mll/blimp", "sentence_good:text(128) sentence_bad:text(128)", "CC-BY-4.0", None, "pairs of which one is wrong: anaphor agreement", "Warstadt et al. 2020, arXiv:1912.00582", {"config": "anaphor_gender_agreement", "splits": "train"}),
    ]),
    Group("text.punctuation text.misc text.generation", "Write the text with its punctuation.", [
        ("fix-punctuation", "Salesforce/wikitext", "input=text:bare(1024) text:text(1024)", "CC-BY-SA-3.0", None, "text without its punctuation, and with it", "Merity et al. 2016, arXiv:1609.07843; Wei et al. 2021, arXiv:2109.01652", {"config": "wikitext-2-raw-v1"}),
    ]),
    Group("text.math text.reasoning text.misc", "Solve the problem.", [
        ("math", "EleutherAI/hendrycks_math", "problem:text(1024) solution:text(2048)", "MIT", None, "problems of competitions: algebra", "Hendrycks et al. 2021, arXiv:2103.03874", {"config": "algebra", "splits": "train test"}),
        ("gsm8k", "openai/gsm8k", "question:text(1024) answer:text(1024)", "MIT", None, "sums of primary schools", "Cobbe et al. 2021, arXiv:2110.14168", {"config": "main", "splits": "train test"}),
        ("svamp", "ChilleD/SVAMP", "Body:text Question:text(128) Answer:text(16)", "MIT", None, "sums in words", "Patel et al. 2021, arXiv:2103.07191", {"splits": "train test"}),
        ("aqua-rat", "deepmind/aqua_rat", "question:text(512) options:texts(5,64) correct:class(A|B|C|D|E)", "Apache-2.0", None, "algebra with choices", "Ling et al. 2017, arXiv:1705.04146", {"config": "raw"}),
        ("math-qa", "allenai/math_qa", "Problem:text(512) options:text(256) correct:class(a|b|c|d|e)", "Apache-2.0", None, "sums with choices", "Amini et al. 2019, arXiv:1905.13319", {}),
    ]),
    Group("text.classification.topic", "Say what the text is about.", [
        ("ag-news", "fancyzhx/ag_news", "text:text(1024) label:class(4)", "", 19_820_267, "news of four topics", "Zhang et al. 2015, arXiv:1509.01626", {"splits": "train test"}),
        ("dbpedia", "fancyzhx/dbpedia_14", "title:text(128) content:text(1024) label:class(14)", "CC-BY-SA-3.0", None, "what an article is about", "Zhang et al. 2015, arXiv:1509.01626", {"config": "dbpedia_14", "splits": "train test"}),
        ("yahoo-answers", "community-datasets/yahoo_answers_topics", "question_title:text best_answer:text(1024) topic:class(10)", "", None, "questions and answers", "Zhang et al. 2015, arXiv:1509.01626", {"config": "yahoo_answers_topics", "splits": "train test"}),
        ("newsgroups", "SetFit/20_newsgroups", "text:text(2048) label:class(20)", "", None, "posts of 20 newsgroups", "Lang 1995", {"splits": "train test"}),
        ("banking77", "PolyAI/banking77", "text:text label:class(77)", "CC-BY-4.0", None, "what a customer wants", "Casanueva et al. 2020, arXiv:2003.04807", {"splits": "train test"}),
        ("clinc-oos", "clinc/clinc_oos", "text:text(128) intent:class(151)", "CC-BY-3.0", None, "what a user wants, or none of it", "Larson et al. 2019, arXiv:1909.02027", {"config": "plus"}),
        ("hate-speech", "cardiffnlp/tweet_eval", "text:text(384) label:class(2)", "", None, "hate in tweets", "Basile et al. 2019; Barbieri et al. 2020, arXiv:2010.12421", {"config": "hate"}),
        ("sms-spam", "ucirvine/sms_spam", "sms:text label:class(2)", "", None, "spam among short messages", "Almeida et al. 2011", {"config": "plain_text", "splits": "train"}),
    ]),
    Group("text.summarization text.generation", "Write what matters of the text, shortly.", [
        ("aeslc", "Yale-LILY/aeslc", "email_body:text(2048) subject_line:text(128)", "", None, "subjects of e-mails", "Zhang and Tetreault 2019, arXiv:1906.03497", {}),
        ("cnn-dailymail", "abisee/cnn_dailymail", "article:text(8192) highlights:text(512)", "Apache-2.0", None, "highlights of news", "Hermann et al. 2015; See et al. 2017, arXiv:1704.04368", {"config": "3.0.0"}),
        ("gigaword", "Harvard/gigaword", "document:text(512) summary:text(128)", "MIT", None, "headlines", "Rush et al. 2015, arXiv:1509.00685", {}),
        ("multi-news", "alexfabbri/multi_news", "document:text(16384) summary:text(2048)", "", None, "several articles in one summary", "Fabbri et al. 2019, arXiv:1906.01749", {}),
        ("newsroom", "lil-lab/newsroom", "text:text(8192) summary:text(512)", "", None, "1.3 million articles with summaries", "Grusky et al. 2018, arXiv:1804.11283", {"by_hand": "Agree to its terms at https://lil.nlp.cornell.edu/newsroom/, download it, and unpack it as JSON lines.", "home": "https://lil.nlp.cornell.edu/newsroom/"}),
        ("samsum", "knkarthick/samsum", "dialogue:text(2048) summary:text(384)", "CC-BY-NC-ND-4.0", None, "conversations", "Gliwa et al. 2019, arXiv:1911.12237", {}),
        ("xsum", "EdinburghNLP/xsum", "document:text(8192) summary:text", "", None, "news in one sentence", "Narayan et al. 2018, arXiv:1808.08745", {}),
        ("wiki-lingua", "GEM/wiki_lingua", "source:text(4096) target:text(512)", "CC-BY-NC-SA-3.0", None, "instructions", "Ladhak et al. 2020, arXiv:2010.03093", {"config": "en"}),
        ("billsum", "FiscalNote/billsum", "text:text(16384) summary:text(2048)", "CC0-1.0", None, "laws", "Kornilova and Eidelman 2019, arXiv:1910.00523", {"splits": "train test"}),
        ("arxiv-summaries", "ccdv/arxiv-summarization", "article:text(32768) abstract:text(2048)", "", None, "abstracts of papers", "Cohan et al. 2018, arXiv:1804.05685", {"config": "section"}),
        ("dialogsum", "knkarthick/dialogsum", "dialogue:text(2048) summary:text(384)", "CC-BY-NC-SA-4.0", None, "conversations", "Chen et al. 2021, arXiv:2105.06762", {}),
        ("reddit-tifu", "ctr4si/reddit_tifu", "documents:text(4096) tldr:text(256)", "MIT", None, "stories of a forum", "Kim et al. 2019, arXiv:1811.00783", {"config": "long", "splits": "train"}),
    ]),
    Group("text.translation text.generation", "Translate the text.", [
        ("wmt14-fr-en", "wmt/wmt14", "fr=translation.fr:text(512) en=translation.en:text(512)", "", None, "news, French to English", "Bojar et al. 2014", {"config": "fr-en", "language": "fr", "tags": "language:en"}),
        ("wmt14-de-en", "wmt/wmt14", "de=translation.de:text(512) en=translation.en:text(512)", "", None, "news, German to English", "Bojar et al. 2014", {"config": "de-en", "language": "de", "tags": "language:en"}),
        ("wmt14-cs-en", "wmt/wmt14", "cs=translation.cs:text(512) en=translation.en:text(512)", "", None, "news, Czech to English", "Bojar et al. 2014", {"config": "cs-en", "language": "cs", "tags": "language:en"}),
        ("wmt16-de-en", "wmt/wmt16", "de=translation.de:text(512) en=translation.en:text(512)", "", None, "news, German to English", "Bojar et al. 2016", {"config": "de-en", "language": "de", "tags": "language:en"}),
        ("wmt16-cs-en", "wmt/wmt16", "cs=translation.cs:text(512) en=translation.en:text(512)", "", None, "news, Czech to English", "Bojar et al. 2016", {"config": "cs-en", "language": "cs", "tags": "language:en"}),
        ("wmt16-fi-en", "wmt/wmt16", "fi=translation.fi:text(512) en=translation.en:text(512)", "", None, "news, Finnish to English", "Bojar et al. 2016", {"config": "fi-en", "language": "fi", "tags": "language:en"}),
        ("wmt16-ro-en", "wmt/wmt16", "ro=translation.ro:text(512) en=translation.en:text(512)", "", None, "news, Romanian to English", "Bojar et al. 2016", {"config": "ro-en", "language": "ro", "tags": "language:en"}),
        ("wmt16-ru-en", "wmt/wmt16", "ru=translation.ru:text(512) en=translation.en:text(512)", "", None, "news, Russian to English", "Bojar et al. 2016", {"config": "ru-en", "language": "ru", "tags": "language:en"}),
        ("wmt16-tr-en", "wmt/wmt16", "tr=translation.tr:text(512) en=translation.en:text(512)", "", None, "news, Turkish to English", "Bojar et al. 2016", {"config": "tr-en", "language": "tr", "tags": "language:en"}),
        ("paracrawl-en-es", "para_crawl", "en=translation.en:text(512) es=translation.es:text(512)", "CC0-1.0", None, "web pages, English to Spanish", "Banon et al. 2020", {"config": "enes", "splits": "train", "tags": "language:es"}),
        ("opus-books-en-fr", "Helsinki-NLP/opus_books", "en=translation.en:text(512) fr=translation.fr:text(512)", "", None, "books, English to French", "Tiedemann 2012", {"config": "en-fr", "splits": "train", "tags": "language:fr"}),
        ("opus100-en-es", "Helsinki-NLP/opus-100", "en=translation.en:text(512) es=translation.es:text(512)", "", None, "everything, English to Spanish", "Zhang et al. 2020, arXiv:2004.11867", {"config": "en-es", "tags": "language:es"}),
    ]),
    Group("text.language_modeling text.generation", "Go on with the text.", [
        ("wikitext-2", "Salesforce/wikitext", "text:text(1024)", "CC-BY-SA-3.0", None, "good articles of Wikipedia", "Merity et al. 2016, arXiv:1609.07843", {"config": "wikitext-2-raw-v1"}),
        ("wikitext-103", "Salesforce/wikitext", "text:text(1024)", "CC-BY-SA-3.0", None, "good articles of Wikipedia", "Merity et al. 2016, arXiv:1609.07843", {"config": "wikitext-103-raw-v1"}),
        ("wikipedia", "wikimedia/wikipedia", "title:text(128) text:text(4096)", "CC-BY-SA-3.0", None, "all articles", "Wikimedia Foundation", {"config": "20231101.en", "splits": "train"}),
        ("lambada", "EleutherAI/lambada_openai", "text:text(512)", "MIT", None, "passages whose last word needs all of them", "Paperno et al. 2016, arXiv:1606.06031", {"splits": "test"}),
        ("tiny-stories", "roneneldan/TinyStories", "text:text(2048)", "CDLA-Sharing-1.0", None, "stories in words of small children", "Eldan and Li 2023, arXiv:2305.07759", NO_TEST),
        ("c4", "allenai/c4", "text:text(4096)", "ODC-By-1.0", None, "cleaned web pages", "Raffel et al. 2020, arXiv:1910.10683", {"config": "en", **NO_TEST}),
        ("fineweb-edu", "HuggingFaceFW/fineweb-edu", "text:text(4096)", "ODC-By-1.0", None, "web pages that teach, a sample of 10 billion tokens", "Penedo et al. 2024, arXiv:2406.17557", {"config": "sample-10BT", "splits": "train"}),
    ]),
    Group("text.code text.generation", "Write the program.", [
        ("humaneval", "openai/openai_humaneval", "prompt:text(2048) canonical_solution:text(1024)", "MIT", None, "functions to be completed", "Chen et al. 2021, arXiv:2107.03374", {"config": "openai_humaneval", "splits": "test"}),
        ("mbpp", "google-research-datasets/mbpp", "text:text(512) code:text(1024)", "CC-BY-4.0", None, "basic problems in Python", "Austin et al. 2021, arXiv:2108.07732", {"config": "full", "splits": "train validation test prompt"}),
    ]),
    Group("text.instruction text.dialogue", "Do what the text asks for.", [
        ("dolly", "databricks/databricks-dolly-15k", "instruction:text(512) context:text(2048) response:text(2048)", "CC-BY-SA-3.0", None, "instructions that people wrote", "Conover et al. 2023", {"splits": "train"}),
        ("alpaca", "tatsu-lab/alpaca", "instruction:text(512) input:text(512) output:text(1024)", "CC-BY-NC-4.0", None, "instructions that a model wrote", "Taori et al. 2023", {"splits": "train"}),
        ("hh-rlhf", "Anthropic/hh-rlhf", "chosen:text(4096) rejected:text(4096)", "MIT", None, "which of two answers people prefer", "Bai et al. 2022, arXiv:2204.05862", {"splits": "train test"}),
    ]),
]
# fmt: on

ENTRIES = entries_of(
    "huggingface", "aexp_torch.catalog.hubs.huggingface:from_huggingface", "huggingface", ("datasets",), GROUPS
)
