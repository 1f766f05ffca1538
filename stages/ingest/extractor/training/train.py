"""The extractor learnt from pages with gold text: tables of words, then two stages of trees, with figures out of fold.

The first stage's probabilities that the second learns from are out of fold; folds are by site. One thread and fixed seeds: the same
pages and the same LightGBM give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.engine.stage import versions
from pipeline.errors import UsageError, WorkError
from stages.ingest.extractor.choice import as_wanted, most_expected
from stages.ingest.extractor.features import COLUMNS
from stages.ingest.extractor.hashing import open_table
from stages.ingest.extractor.model import NAME, Model, Words, features_of, known_of, mixed, odds_of, packed, thousandths
from stages.ingest.extractor.scan import BYTES
from stages.ingest.extractor.second import SECOND_COLUMNS, fill_second
from stages.ingest.extractor.training.learn import Odds, class_votes, text_votes
from stages.ingest.extractor.training.pages import FOLDS, Example, example_of, fold_of, read_pages, word_f1
from stages.ingest.extractor.trees import Forest, from_lightgbm, mean_of

if TYPE_CHECKING:
    from stages.ingest.commands import TrainExtractor

MOST_ROWS = 250
"""Blocks of one page that are learnt from; of more, so many are drawn by hash and stand for all."""
CLASS_PAGES, TEXT_PAGES = 4, 6
"""Pages from which a class word, and a word of text, is looked at."""
FEW_PAGES = 8
"""Pages of a language under which it has no line of its own in the card."""
CLASS_ODDS, TEXT_ODDS = 0.1, 0.2
"""Log odds below which a word says nothing."""
OPTIONS: dict[str, Any] = {  # 150 trees that learn twice as fast: .0035 less out of fold; 500 slower ones are as good
    "objective": "cross_entropy", "learning_rate": 0.07, "num_leaves": 31, "max_depth": 8, "min_data_in_leaf": 40,
    "feature_fraction": 0.3, "bagging_fraction": 0.6, "bagging_freq": 1, "lambda_l2": 5, "max_bin": 63, "verbose": -1,
    "num_threads": 1, "force_row_wise": True, "deterministic": True, "seed": 1,
}  # fmt: skip
SECOND = OPTIONS | {"num_leaves": 15, "min_data_in_leaf": 80, "learning_rate": 0.06, "lambda_l2": 10, "seed": 2}
"""Smaller trees: with the first stage's the second is too sure of itself (out of fold .8749 alone, against .8774)."""
FORESTS = 2
"""Forests that a stage is the mean of, alike but for what they draw. Out of fold one is as good (word F1 .8889; two pairs .8887 and .8881), but of
other pages two read more: AEB, which nothing was learnt from, .957 and .958, where five single ones gave .950 to .954."""


class Rows:
    """The blocks of all pages as rows: labels, weights, folds, and which are learnt from."""

    def __init__(self, examples: list[Example]) -> None:
        counts = [len(example.blocks.block) for example in examples]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.fold = np.repeat([fold_of(example.site) for example in examples], counts)
        self.share, self.weight = np.zeros(self.starts[-1]), np.zeros(self.starts[-1])
        self.used = np.ones(self.starts[-1], np.bool_)
        for place, example in enumerate(examples):
            labels, rows = example.labels, self.of(place)
            self.share[rows] = np.minimum(labels.matched / np.maximum(labels.words, 1), 1)
            weight = (labels.words + 1.5) ** 0.8
            # A page counts by the root of its size, against that of its gold: a long page is not a hundred short ones.
            weight *= 100 / (np.sqrt(weight.sum()) * np.sqrt(max(labels.gold, 50))) if len(weight) else 1
            if counts[place] > MOST_ROWS:
                drawn = np.argsort(_scattered(np.arange(counts[place], dtype=np.uint64), place), kind="stable")
                self.used[self.starts[place] + drawn[MOST_ROWS:]] = False
                weight *= counts[place] / MOST_ROWS
            self.weight[rows] = weight

    def of(self, place: int) -> slice:
        return slice(self.starts[place], self.starts[place + 1])


def _scattered(numbers: np.ndarray, salt: int) -> np.ndarray:
    """A 64-bit hash of each number (splitmix64)."""
    x = (numbers + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError:
        raise UsageError("training an extractor needs LightGBM", "pip install maetdol[extractor]") from None
    return lightgbm


class TreeStage:
    """One stage's features, binned once for all folds."""

    def __init__(self, features: np.ndarray, rows: Rows, trees: int, options: dict[str, Any]) -> None:
        self.features, self.rows, self.trees, self.options = features, rows, trees, options
        self.places = np.flatnonzero(rows.used)
        data = lightgbm().Dataset(
            features[self.places], rows.share[self.places], weight=rows.weight[self.places], params=options, free_raw_data=False
        )  # fmt: skip
        self.data = data.construct()

    def forest(self, kept: np.ndarray) -> Forest:
        """Trees learnt from some of the used rows (booleans)."""
        data, seed = self.data.subset(np.flatnonzero(kept)), self.options["seed"]
        drawn = (self.options | {"seed": seed + 10 * number} for number in range(FORESTS))
        return mean_of([from_lightgbm(lightgbm().train(options, data, self.trees))[0] for options in drawn])

    def out_of_fold(self) -> np.ndarray:
        """int64 per row: log odds in 1/65,536, each said by trees that saw no page of its fold."""
        out = np.zeros(len(self.features), np.int64)
        fold = self.rows.fold
        for number in range(FOLDS):
            inside = fold == number
            if inside.any() and (kept := fold[self.places] != number).any():
                out[inside] = odds_of(self.forest(kept), self.features[inside])
        return out

    def whole(self) -> Forest:
        return self.forest(np.ones(len(self.places), np.bool_))


def fitted(examples: list[Example], trees: int) -> tuple[Model, np.ndarray, Rows]:
    """(model, thousandths per block out of fold, rows) of pages with labels."""
    sites = [example.site for example in examples]
    classes = Odds([class_votes(e.blocks, e.labels) for e in examples], sites, CLASS_PAGES, CLASS_ODDS)
    texts = Odds([text_votes(e.blocks, e.labels) for e in examples], sites, TEXT_PAGES, TEXT_ODDS)
    rows = Rows(examples)
    features = np.zeros((rows.starts[-1], COLUMNS + SECOND_COLUMNS), np.int32)
    known = []
    apart: dict[str, tuple[Words, Words]] = {}
    for place, example in enumerate(examples):
        if example.site not in apart:
            apart[example.site] = (
                Words(*open_table(*classes.without(example.site))),
                Words(*open_table(*texts.without(example.site))),
            )
        about, short = apart[example.site]
        known.append(known_of(example.blocks, about))
        features_of(example.blocks, known[-1], short, features[rows.of(place)])
    one = TreeStage(np.ascontiguousarray(features[:, :COLUMNS]), rows, trees, OPTIONS)
    odds, first = one.out_of_fold(), one.whole()
    said = thousandths(odds)
    for place, (example, what) in enumerate(zip(examples, known)):
        of, blocks = rows.of(place), example.blocks
        fill_second(blocks.block, blocks.container, what, blocks.signature, said[of], features[of], COLUMNS)
    two = TreeStage(features, rows, trees, SECOND)
    model = Model(Words(*open_table(*classes.without())), Words(*open_table(*texts.without())), first, two.whole())
    return model, mixed(odds, two.out_of_fold()), rows


Figures = dict[str, dict[str, float]]
"""By kind or language, and `all`: `pages`, their mean `f1`, and that with readers' comments among the text (`with_comments`)."""


def figures(examples: list[Example], said: np.ndarray, rows: Rows) -> tuple[Figures, Figures]:
    """Word F1 out of fold, the mean over pages: by kind of page, and by language (`unknown` where a page says none)."""
    by_kind: dict[str, list[tuple[float, float]]] = {}
    by_language: dict[str, list[tuple[float, float]]] = {}
    for place, example in enumerate(examples):
        own, size = said[rows.of(place)], example.blocks.block[:, BYTES]
        alone, wanted = (word_f1(example, most_expected(p, size)) for p in (own, as_wanted(own, size, example.answers)))
        by_language.setdefault(example.language or "unknown", []).append((alone, wanted))
        for kind in ("all", example.kind or "unknown"):
            by_kind.setdefault(kind, []).append((alone, wanted))
    few = [language for language, pages in by_language.items() if len(pages) < FEW_PAGES]
    if few:
        by_language["others"] = [page for language in few for page in by_language.pop(language)]
    return _means(by_kind), _means(by_language)


def _means(found: dict[str, list[tuple[float, float]]]) -> Figures:
    means = {name: np.mean(pages, axis=0).round(4).tolist() for name, pages in found.items()}
    return {
        name: {"pages": len(found[name]), "f1": alone, "with_comments": wanted}
        for name, (alone, wanted) in sorted(means.items())
    }


def train(order: TrainExtractor) -> dict:
    """Learn from `order.pages`; writes model and card into `order.out`, returns the card."""
    lightgbm()
    examples = list(_examples(order.pages))
    if len({fold_of(example.site) for example in examples}) < 2:
        raise WorkError(
            f"{len(examples)} pages are of too few sites to learn from and to measure on",
            "give pages of more sites, with their `url`",
        )
    model, said, rows = fitted(examples, order.trees)
    by_kind, by_language = figures(examples, said, rows)
    card = {
        "what": "probability that a block of a page is its main text",
        "pages": len(examples),
        "sites": len({example.site for example in examples}),
        "blocks": int(rows.starts[-1]),
        "trees": FORESTS * order.trees,
        "words": [int((table.keys > 0).sum()) for table in (model.classes, model.texts)],
        "versions": versions(("lightgbm",)),
        "licence": order.licence,
        "attribution": order.attribution,
        "out_of_fold": by_kind,
        "out_of_fold_by_language": by_language,
    }
    out = Path(order.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / NAME).write_bytes(packed(model))
    (out / "card.json").write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", "utf-8")
    (out / "card.md").write_text(page_of(card), "utf-8")
    return card


def page_of(card: dict) -> str:
    """The card as a Markdown page."""
    lines = [
        "# Extractor",
        "",
        f"Says of each block of an HTML page how likely it is main text. {card['trees']} trees in each of two stages, and the log odds "
        f"of {card['words'][0]:,} class words and {card['words'][1]:,} words of short blocks; made by `maetdol extractor train`.",
        "",
        f"Learnt from {card['pages']:,} pages of {card['sites']:,} sites ({card['blocks']:,} blocks).",
        f"Licence of the gold: {card['licence'] or 'not stated'}. Attribution: {card['attribution'] or 'not stated'}.",
        "",
        "Word F1 of the chosen blocks against the gold, mean over pages, out of fold (five folds, sites apart); the tables of words leave",
        "out a page's own site. With comments (`comments: true`), readers' comments and the posts of threads are taken for wanted, though the",
        "gold of an article may have none.",
        "",
    ]
    for title, name in (("kind of page", "out_of_fold"), ("language, as pages state it", "out_of_fold_by_language")):
        lines += [f"| {title} | pages | word F1 | with comments |", "|---|---|---|---|"]
        lines += [
            f"| {which} | {found['pages']:,} | {found['f1']:.4f} | {found['with_comments']:.4f} |"
            for which, found in card[name].items()
        ]
        lines.append("")
    weak = sorted(
        (kind for kind in card["out_of_fold"] if kind != "all"), key=lambda kind: card["out_of_fold"][kind]["f1"]
    )
    lines += [
        f"Weakest, worst first: {', '.join(weak[:3])}. It knows no kind of page, and no language, that the pages it learnt from lack, and reads",
        "only what stands in the page's source: what a script would fetch is not there.",
    ]
    return "\n".join(lines) + "\n"


def _examples(sources: Iterable[str]) -> Iterable[Example]:
    for source in sources:
        for page in read_pages(source):
            if (example := example_of(page)) is not None:
                yield example
