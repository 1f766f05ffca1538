"""presidio at work: our rules as its recognisers, and its AnalyzerEngine for recognisers that a user adds.

`registry("kernel")` holds one recogniser per kind on top of the compiled scanner, for whoever runs presidio already.
`registry("regex")` holds one per rule, read by a regular-expression engine (`stages.pii.engines.reference`): with it the
AnalyzerEngine is the reference of the kernels, and the measure of what presidio alone costs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from pipeline.errors import OptionError
from stages.pii.detect import Finding, Taken, detect
from stages.pii.entities import BY_NAME, PATTERNED
from stages.pii.kernels.rules import PatternRule, rule_book

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, RecognizerResult

LANGUAGES = ["ko", "en"]
_HEAVY = (
    "torch",
    "transformers",
    "tensorflow",
    "jax",
    "cupy",
    "stanza",
    "spacy_huggingface_pipelines",
    "gliner",
    "azure",
)
"""What spaCy and presidio import if they can and nothing here uses: seconds and hundreds of MB per process."""


@contextmanager
def without_heavy() -> Iterator[None]:
    blocked = [name for name in _HEAVY if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in blocked:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


@cache
def presidio() -> ModuleType:
    """The package presidio_analyzer, imported without what it drags along. OptionError where it is not installed."""
    try:
        with without_heavy():
            import presidio_analyzer
            import presidio_analyzer.nlp_engine
            import tldextract
    except ModuleNotFoundError as fault:
        raise OptionError(f"presidio cannot be imported: {fault}", "pip install presidio-analyzer") from None
    # presidio's mail recogniser would fetch the list of public suffixes on first use; the one in the package does.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # type: ignore[assignment]
    return presidio_analyzer


def registry(
    engine: Literal["kernel", "regex"], entities: tuple[str, ...] = PATTERNED, languages: list[str] | None = None
) -> RecognizerRegistry:
    """Recognisers of `entities` under their names in presidio, on the kernels or on a regular-expression engine."""
    spoken = languages or LANGUAGES
    if engine == "kernel":
        made = [_kernel_class()(name, language) for language in spoken for name in entities]
    else:
        made = [_rule_class()(rule, language) for language in spoken for rule in rule_book() if rule.entity in entities]
    return presidio().RecognizerRegistry(recognizers=made, supported_languages=spoken)


def analyzer(
    engine: Literal["kernel", "regex"], entities: tuple[str, ...] = PATTERNED, languages: list[str] | None = None
) -> AnalyzerEngine:
    """An AnalyzerEngine over `registry(engine)`; it needs no language model."""
    module = presidio()
    spoken = languages or LANGUAGES
    return module.AnalyzerEngine(
        registry=registry(engine, entities, spoken),
        nlp_engine=module.nlp_engine.NoOpNlpEngine(
            models=[{"lang_code": language, "model_name": ""} for language in spoken]
        ),
        supported_languages=spoken,
    )


@cache
def _kernel_class() -> type:
    base, result = presidio().EntityRecognizer, presidio().RecognizerResult

    class KernelRecognizer(base):
        """One kind of personal data, found by the compiled scanner. Scores count the labels already."""

        def __init__(self, entity: str, language: str = "en", floor: float = 0.5):
            self.entity, self.floor = entity, floor
            super().__init__(
                [BY_NAME[entity].presidio],
                name=f"Maetdol{entity.title().replace('_', '')}",
                supported_language=language,
            )

        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
            found = detect(pa.array([text], pa.large_string()), frozenset((self.entity,)), self.floor)
            return [result(self.supported_entities[0], f.start, f.end, f.score) for f in found]

    return KernelRecognizer


@cache
def _rule_class() -> type:
    from stages.pii.detect import base58check
    from stages.pii.engines.reference import spans

    base, result = presidio().EntityRecognizer, presidio().RecognizerResult

    class RuleRecognizer(base):
        """One rule of the book, read by the `regex` module and checked in plain Python."""

        def __init__(self, rule: PatternRule, language: str = "en", floor: float = 0.5):
            self.rule, self.floor = rule, floor
            super().__init__(
                [BY_NAME[rule.entity].presidio],
                name=f"Rule{rule.name.title().replace('_', '')}",
                supported_language=language,
            )

        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
            found = spans(text, self.rule, round(self.floor * 100))
            if self.rule.check == "base58":
                found = [span for span in found if base58check(text[span.start : span.end].encode())]
            return [result(self.supported_entities[0], s.start, s.end, s.score / 100) for s in found]

    return RuleRecognizer


def without_overlaps(text: str, results: list[RecognizerResult]) -> list[RecognizerResult]:
    """Results without overlaps by the rule of the kernels: the longest (bytes of UTF-8), the best scored, the earlier kind."""
    order = {entity.presidio: number for number, entity in enumerate(BY_NAME.values())}
    taken = Taken()
    ranked = sorted(
        results, key=lambda r: (-len(text[r.start : r.end].encode()), -r.score, r.start, order.get(r.entity_type, 99))
    )
    return sorted((result for result in ranked if taken.take(result.start, result.end)), key=lambda r: r.start)


def blank_tokens(languages: list[str]) -> Any:
    """presidio's engine for tokens alone, on blank spaCy pipelines; its own would look for a model where spaCy has one.

    Each word is its own lemma, in small letters: presidio compares lemmas with the context words, and blank pipelines have none.
    """
    with without_heavy():
        import spacy

    @spacy.Language.component("maetdol_words_as_lemmas")
    def words_as_lemmas(doc: Any) -> Any:
        for token in doc:
            token.lemma_ = token.text.lower()
        return doc

    class Blank(presidio().nlp_engine.SlimSpacyNlpEngine):
        def load(self) -> None:
            self.nlp = {}
            for language in languages:
                try:
                    self.nlp[language] = spacy.blank(language)
                except ImportError:  # a tokenizer that is not installed, as for Korean
                    self.nlp[language] = spacy.blank("xx")
                self.nlp[language].add_pipe("maetdol_words_as_lemmas")

    return Blank(supported_languages=languages, generic_tokenizer="blank", auto_download=False)


def recognizers_finder(path: str, floor: float) -> tuple[Callable[[pa.Array], list[Finding]], tuple[str, ...]]:
    """A finder that runs the recognisers of a YAML file in an AnalyzerEngine, and the kinds that are only theirs.

    The file is a recogniser configuration of presidio: `recognizers` (type custom: name, patterns or deny list, entity,
    context words; type predefined: one of presidio's own) and `supported_languages` (default: those its recognisers name,
    else en). Tokens for the context words come from blank spaCy pipelines; no model is loaded. OptionError for a file that
    presidio refuses.
    """
    module = presidio()
    page = _page(path)
    languages = page["supported_languages"]
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    with without_heavy():
        nlp = blank_tokens(languages)
        try:
            found = RecognizerRegistryProvider(registry_configuration=page).create_recognizer_registry()
            engine = module.AnalyzerEngine(registry=found, nlp_engine=nlp, supported_languages=languages)
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            reason = " ".join(str(fault).split())[:300]
            raise OptionError(
                f"recognizers: presidio refuses {path}: {reason}", "see presidio's documentation of no-code recognisers"
            ) from None
    names = {entity: _kind(entity) for language in languages for entity in engine.get_supported_entities(language)}

    def find(texts: pa.Array) -> list[Finding]:
        found = []
        for item, text in enumerate(texts.to_pylist()):
            results = (
                [result for language in languages for result in engine.analyze(text, language, score_threshold=floor)]
                if text
                else []
            )
            found += [
                Finding(item, r.start, r.end, names[r.entity_type], "presidio", round(float(r.score), 2))
                for r in without_overlaps(text, results)
            ]
        return found

    return find, tuple(sorted(set(names.values()) - set(BY_NAME)))


def _page(path: str) -> dict[str, Any]:
    """The configuration in `path` with what presidio insists on filled in."""
    import yaml

    try:
        with open(path, encoding="utf-8") as handle:
            page = yaml.safe_load(handle)
    except (OSError, yaml.YAMLError) as fault:
        raise OptionError(
            f"recognizers: cannot read {path}: {type(fault).__name__}", "give a YAML file of presidio recognisers"
        ) from None
    entries = page.get("recognizers") if isinstance(page, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise OptionError(
            f"recognizers: {path} has no list `recognizers`", "see presidio's documentation of no-code recognisers"
        )
    spoken: set[str] = set()
    for entry in entries:
        one = [entry["supported_language"]] if "supported_language" in entry else []
        spoken |= {
            str(each["language"] if isinstance(each, dict) else each)
            for each in [*one, *(entry.get("supported_languages") or ())]
        }
    return {"global_regex_flags": 26, "supported_languages": sorted(spoken) or ["en"], **page}


def _kind(entity: str) -> str:
    """Our name of a presidio entity, or its own in small letters."""
    known = {e.presidio: e.name for e in BY_NAME.values()}
    return known.get(entity) or re.sub("[^a-z0-9_]+", "_", entity.lower()).strip("_") or "other"
