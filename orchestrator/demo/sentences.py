"""Everyday sentences in five languages, composed of a subject, a predicate, and a place or time.

Every part occurs in every split, and no sentence occurs in two splits.
"""

from __future__ import annotations

from itertools import product

from task_specs.example import Split

__all__ = ["LANGUAGES", "sentences"]

PARTS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "de": (
        ("Meine Schwester", "Der Lehrer", "Unser Nachbar", "Die Ärztin"),
        ("trinkt Kaffee", "liest ein Buch", "kauft Brot", "sucht Schlüssel"),
        ("im Garten", "am Bahnhof", "jeden Abend", "in der Küche"),
    ),
    "en": (
        ("My sister", "The teacher", "Our neighbour", "The doctor"),
        ("drinks coffee", "reads a book", "buys some bread", "looks for keys"),
        ("in the garden", "at the station", "every evening", "in the kitchen"),
    ),
    "es": (
        ("Mi hermana", "El profesor", "Nuestro vecino", "La doctora"),
        ("toma café", "lee un libro", "compra pan", "busca las llaves"),
        ("en el jardín", "en la estación", "cada noche", "en la cocina"),
    ),
    "fr": (
        ("Ma sœur", "Le professeur", "Notre ami", "La voisine"),
        ("boit du café", "lit un livre", "achète du pain", "cherche ses clés"),
        ("dans le jardin", "à la gare", "chaque soir", "dans la cuisine"),
    ),
    "lt": (
        ("Mano sesuo", "Mokytojas", "Mūsų kaimynas", "Gydytoja"),
        ("geria kavą", "skaito knygą", "perka duoną", "ieško raktų"),
        ("sode", "stotyje", "kas vakarą", "virtuvėje"),
    ),
}
LANGUAGES = tuple(PARTS)

# The four diagonals of a 4 x 4 square or a 4 x 4 x 4 cube hold every part equally often.
DIAGONALS: dict[Split, tuple[int, ...]] = {"train": (0, 1), "valid": (2,), "test": (3,)}


def sentences(language: str, split: Split, *, parts: int) -> tuple[str, ...]:
    """Return the sentences of one of ``LANGUAGES`` for ``split``.

    With three ``parts`` there are 32 for train, 16 for valid and 16 for test; with two 8, 4 and 4.
    """
    return tuple(
        " ".join(PARTS[language][part][choice] for part, choice in enumerate(choices)) + "."
        for choices in product(range(4), repeat=parts)
        if sum(choices) % 4 in DIAGONALS[split]
    )
