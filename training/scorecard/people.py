"""Whether people stay who they are: names with their pronouns, names that come once and are gone.

Pure functions of a text. Who is *he* and who is *she* stands in `gendered_names.txt`; a name or a person that
may be either makes a story undecided rather than wrong. Knows nothing of models.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

from engine.lexicon import is_name
from training.scorecard.metrics import sentences_of, words_of

NAMES = Path(__file__).parent / "gendered_names.txt"
PRONOUNS = {
    **dict.fromkeys(("he", "him", "his", "himself"), "he"),
    **dict.fromkeys(("she", "her", "hers", "herself"), "she"),
}
_MALE = """
    man men boy boys father fathers dad daddy papa brother brothers king kings uncle grandfather grandpa
    granddad son sons grandson husband prince mr sir wizard waiter actor boyfriend gentleman guy guys lord
    monk nephew policeman fireman postman groom lad fisherman
"""
_FEMALE = """
    woman women girl girls mother mothers mum mom mummy mommy mama sister sisters queen queens aunt auntie
    grandmother grandma granny daughter daughters granddaughter wife princess mrs ms miss madam witch
    waitress actress girlfriend lady ladies niece heroine bride policewoman
"""
_ANYONE = """
    person child baby kid friend neighbour neighbor teacher doctor nurse dentist student pupil driver pilot
    captain chef cook baker farmer officer guard soldier hero villain thief robber criminal boss manager
    worker colleague partner parent cousin twin stranger visitor guest customer client passenger tourist
    singer dancer artist painter writer author musician scientist professor engineer detective inspector
    judge lawyer killer ghost monster robot alien dragon dog cat horse bird bear wolf fox mouse rabbit owner
    seller shopkeeper secretary assistant leader president minister mayor someone somebody voice figure
    enemy rival creature fairy giant elf vampire zombie spy agent sailor builder cleaner librarian
    photographer journalist reporter athlete player runner coach winner patient vet cashier clerk keeper
    conductor director knight goat lion puppy kitten snowman machine computer adult teenager traveller
    gardener postwoman referee principal caretaker ally sidekick twins mechanic publisher repairman poisoner
    technician parrot cow hen duck frog bee ant bat owl pig sheep camper inventor guide opponent merchant
    servant poet goalkeeper butcher
"""
_CAPITAL = re.compile(r"\b[A-Z][a-z]+(?:-[A-Z][a-z]+)?\b")


@lru_cache(maxsize=1)
def name_genders() -> dict[str, str]:
    """Return "he" or "she" for each name that is nearly always the one."""
    genders: dict[str, str] = {}
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pronoun, *names = line.split()
            genders.update(dict.fromkeys(names, pronoun))
    return genders


@lru_cache(maxsize=1)
def person_genders() -> dict[str, str]:
    """Return "he", "she" or "any" for each noun that means a person or a being spoken of as one."""
    return {
        **dict.fromkeys(_ANYONE.split(), "any"),
        **dict.fromkeys(_MALE.split(), "he"),
        **dict.fromkeys(_FEMALE.split(), "she"),
    }


def names_in(text: str) -> Counter[str]:
    """Return how often each name (of a person or a place) occurs in a text."""
    return Counter(word for word in _CAPITAL.findall(text) if word in name_genders() or is_name(word))


def pronouns_agree(text: str) -> float | None:
    """Return 1 when every *he* and *she* of a story can mean somebody in it, else 0.

    Somebody is a name of that gender (`gendered_names.txt`) or a noun for a person. Decided only where names
    and nouns leave out at least one of the two and a pronoun occurs; None for all others. Higher is better.
    """
    words = [word.removesuffix("'s") for word in words_of(text)]
    people = {name_genders().get(name, "any") for name in names_in(text)}
    people |= {person_genders()[word] for word in words if word in person_genders()}
    pronouns = {PRONOUNS[word] for word in words if word in PRONOUNS}
    if not people or not pronouns or "any" in people or {"he", "she"} <= people:
        return None
    return float(pronouns <= people)


def fleeting_names(text: str) -> float | None:
    """Return the share of a story's names that occur once only, 0 … 1; None below four sentences or no name.

    People who come from nowhere and are gone the next moment. Lower is better; writers do it, too.
    """
    names = names_in(text)
    if not names or len(sentences_of(text)) < 4:
        return None
    return sum(count == 1 for count in names.values()) / len(names)
