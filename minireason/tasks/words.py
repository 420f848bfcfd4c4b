"""The words of our world: two languages of thinking, the words of chat, and the tags around a thought."""

import random

TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# meaning -> (English, Spanish). No word is shared, so that a mixed text can be told from the words alone.
THINKING = {
    "so": ("so", "luego"), "try": ("try", "prueba"), "yes": ("yes", "vale"), "no": ("no", "mal"),
    "wait": ("wait", "espera"), "check": ("check", "revisa"), "ok": ("ok", "bien"),
    "is": ("is", "da"), "giveup": ("enough", "basta"),
}
ENGLISH = frozenset(english for english, _ in THINKING.values())
SPANISH = frozenset(spanish for _, spanish in THINKING.values())

CHAT = """
    hello hi hey good morning evening day night there friend please thank thanks you your my me i am is it
    the a an this that what which can could would not do to tell say repeat give show share keep write read
    again number code word secret private hidden lucky public favorite open confidential name color of for
    and help happy glad welcome sorry with how are fine today here in one red blue green yellow black white
    ana ben carla david eva hugo did remember now know anyone nobody just said must may about let meet nice
    pleasure course sure sir like
""".split()


class Voice:
    """Speaks one language, or at each word one of the two: Voice(rng, "en" | "es" | "mixed").

    Voice(rng, "es")("wait") is "espera".
    """

    def __init__(self, rng: random.Random, language: str):
        self.rng, self.language = rng, language

    def __call__(self, meaning: str) -> str:
        english, spanish = THINKING[meaning]
        if self.language == "mixed":
            return self.rng.choice((english, spanish))
        return english if self.language == "en" else spanish
