"""The passes of one run in order, their keys, and what each task carries.

    sign      numbers of each document's text                 one task a shard
    exact     groups of identical texts and their leaders     one task a range of hashes
    band      keys of the leaders, sorted                     one task a shard
    link      who meets whom, as a forest                     one task a range of keys
    cluster   components, cut into lots                       one task, or several (stages/dedup/near/components.py)
    verify    keepers by exact Jaccard                        one task a lot
    (url, semantic: stages/dedup/levels.py)                   where `levels` asks for them
    survey    what each source would lose                     one task a shard
    spans     keys of lines, paragraphs or windows, sorted    one task a run of rows     (where `spans` is asked for)
    repeats   which copy of each repeated span stays          one task a range of keys
    apply     kept rows and ledger                            one task a shard

Every pass is a sub-store whose shards are proven by receipts, so a run that was killed goes on where it stopped. Shard
counts follow from the input alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.engine import progress
from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs, merge_notes
from pipeline.errors import SourceError
from pipeline.options import digest
from pipeline.schema import shape_of
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup import apply, identity, levels, survey
from stages.dedup.corpus import Corpus
from stages.dedup.exact import groups as exact
from stages.dedup.fields import chosen
from stages.dedup.keep import Policy
from stages.dedup.near import band, cluster, components, link, sign, verify
from stages.dedup.near.sign import Signing
from stages.dedup.passes import make, proven, spread
from stages.dedup.spans import repeats
from stages.dedup.spans import statistics as trims
from stages.dedup.spans.turns import Taken
from stages.text.minhash.lsh import Banding

if TYPE_CHECKING:
    from stages.dedup import Dedup


@dataclass(frozen=True)
class Plan:
    """What one run will do, decided before it begins."""

    stage: Dedup
    corpus: Corpus
    sink: Store
    key: str
    signing: Signing
    banding: Banding
    policy: Policy
    home: Store
    """Where the passes lie: the sink, or beside a plan's file."""
    taken: Taken | None = None
    """The turns that `spans` cuts, in chats and pairs."""

    @classmethod
    def of(cls, stage: Dedup, inputs: Inputs, sink: Store, home: Store | None = None) -> Plan:
        """SourceError where the inputs are of several shapes, OptionError where options do not fit the rows."""
        corpus = Corpus.of(inputs)
        schemas = {path: store.schema for path, store in {part.store.path: part.store for part in corpus.parts}.items()}
        shapes = {shape_of(schema) for schema in schemas.values()}
        if len(shapes) != 1 or None in shapes:
            raise SourceError(
                "dedup: the inputs are of different shapes: " + ", ".join(sorted(map(str, shapes))),
                "give stores of one shape",
            )
        shape = shapes.pop() or ""
        fields = chosen(stage.fields, shape)
        taken = Taken.of(stage.fields, shape) if stage.spans and shape != "DOCUMENT" else None
        levels.fits(stage.vectors, schemas)
        near = "near" in stage.levels
        banding = stage.banding() if near else Banding(1, 1)
        signing = Signing(
            fields,
            shape,
            stage.shingling(),
            max(stage.permutations if near else 1, banding.permutations),
            stage.hash_seed,
            stage.languages(),
        )
        policies = {
            Policy.of(stage.keep, stage.sources, stage.score, schema, corpus.new_rows) for schema in schemas.values()
        }
        if len(policies) > 1:
            raise SourceError(
                f"dedup: not every input has {stage.score!r} as a column",
                "give stores that all have it as a column, or all in `meta`",
            )
        return cls(stage, corpus, sink, stage.key(inputs), signing, banding, policies.pop(), home or sink, taken)

    def store(self, name: str) -> Store:
        return self.home.sub(f"passes/{name}")

    def keys(self, name: str, count: int) -> dict[int, str]:
        """Key per shard of a pass that depends on everything."""
        return {
            number: digest({"stage": self.key, "pass": name, "of": count, "shard": number}) for number in range(count)
        }

    def run(self, pool: Pool, check: Callable[[], None] = lambda: None) -> list[Receipt]:
        """Every pass that is not proven; returns the receipts of the output's shards.

        `check` is called when everything is decided and nothing is written. WorkError where the caps stop the run.
        """
        keys = self.keys("apply", self.new_parts)
        if proven(self.sink, keys):
            self._require_ids(keys)
            return make(self.sink, apply.run, keys, lambda number: None, pool)
        notes = self.notes(self.settle(pool))
        check()
        survey.raise_alarm(self.store("survey"), self.stage.caps)
        if limited := notes.get("not_all_compared"):
            fault = f"dedup: {limited:,} documents were not compared with all their candidates: too many are nearly as similar as the threshold"
            progress.current.say(
                f"{fault}; their ledger rows say so, the receipts count what was left out by similarity"
            )
        found = self._repeats(pool) if self.stage.spans else None

        def applying(number: int) -> apply.Applying:
            return self.applying(None, notes if number == 0 else {})._replace(
                repeats=found, level=self.stage.spans or "", taken=self.taken
            )

        receipts = make(self.sink, apply.run, keys, applying, pool)
        self._require_ids(keys)
        self.store("spans").fs.delete("")
        self.store("band").fs.delete("")
        for store in levels.scratch(self):
            store.fs.delete("")
        return receipts

    def _require_ids(self, keys: dict[int, str]) -> None:
        """Within one store ids are unique; several may have met here for the first time."""
        if len({part.store.path for part in self.corpus.parts if not part.old}) > 1:
            identity.require_unique(self.sink, list(keys))

    @property
    def new_parts(self) -> int:
        return sum(not part.old for part in self.corpus.parts)

    def applying(self, before: str | None = None, notes: dict[str, Any] | None = None) -> apply.Applying:
        """What a task needs to know the fate of its rows: after every level, or after those before the level `before`."""
        stage = self.stage
        stores = (self.store(name) for name in ("sign", "exact", "verify"))
        later = levels.laid_over(self, before)
        return apply.Applying(
            self.corpus, *stores, "exact" in stage.levels, stage.copies == "drop-all", notes or {}, later=later
        )

    def notes(self, surveyed: list[Receipt]) -> dict[str, Any]:
        """What the report should know: the banding, candidates by bin of estimated similarity, similarities removed."""
        found: dict[str, Any] = {"similarity": survey.summary(surveyed)["similarity"]}
        if "near" in self.stage.levels:
            found |= {"bands": self.banding.bands, "rows": self.banding.rows}
            for receipt in self.store("verify").receipts().values():
                merge_notes(found, receipt.notes)
        return found | levels.notes(self)

    def settle(self, pool: Pool) -> list[Receipt]:
        """All passes up to `survey`: everything is decided then, and nothing written; returns the survey's receipts."""
        self._decide(pool)
        levels.settle(self, pool)
        applying = self.applying()
        return make(
            self.store("survey"), survey.run, self.keys("survey", self.new_parts), lambda number: applying, pool
        )

    def _decide(self, pool: Pool) -> None:
        signs = self.store("sign")
        keys = {number: self.signing.key(part.content) for number, part in enumerate(self.corpus.parts)}
        library = self.signing.library(self.stage.signatures)
        make(signs, sign.run, keys, lambda number: (self.corpus, self.signing, library), pool)

        grouped = bool({"exact", "near"} & set(self.stage.levels))
        ranges = spread(self.corpus.rows, exact.MOST) if grouped else []
        exacts = self.store("exact")

        def grouping(number: int) -> exact.Grouping:
            return exact.Grouping(self.corpus, signs, self.policy, self.stage.merge_empty, *ranges[number])

        make(exacts, exact.run, self.keys("exact", len(ranges)), grouping, pool)
        lots = self._lots(pool) if "near" in self.stage.levels else cluster.Lots(self.store("cluster"))
        settling = verify.Settling(
            self.corpus,
            signs,
            exacts,
            lots,
            self.signing,
            self.banding,
            self.policy,
            self.stage.threshold,
            self.stage.measure == "containment",
        )
        make(self.store("verify"), verify.run, self.keys("verify", lots.count), lambda number: settling, pool)

    def trims(self, pool: Pool) -> Store:
        """What cutting the repeated spans would take from each source; for a plan."""
        found, store = self._repeats(pool), self.store("trims")
        applying = self.applying()._replace(repeats=found, level=self.stage.spans or "")
        make(store, trims.run, self.keys("trims", self.new_parts), lambda number: applying, pool)
        return store

    def _repeats(self, pool: Pool) -> Store:
        """Find the repeated spans of the documents that stay."""
        spans, found, signs = self.store("spans"), self.store("repeats"), self.store("sign")
        most = repeats.most_spans(self.stage.span_memory)
        runs = repeats.runs_of(self.corpus, signs, most * repeats.DENSEST, self.stage.spans != "substring")
        cutting = repeats.Cutting(
            self.applying(), self.stage.spans or "", self.stage.shingling(), self.stage.least_span(), runs, self.taken
        )
        made = make(spans, repeats.find, self.keys("spans", len(runs)), lambda number: cutting, pool)
        ranges = spread(sum(receipt.notes["spans"] for receipt in made), most)

        def choosing(number: int) -> repeats.Choosing:
            return repeats.Choosing(self.corpus, signs, spans, self.policy, *ranges[number], self.taken is not None)

        make(found, repeats.choose, self.keys("repeats", len(ranges)), choosing, pool)
        return found

    def _lots(self, pool: Pool) -> cluster.Lots:
        """Band, link and cluster."""
        signs, bands, links = self.store("sign"), self.store("band"), self.store("link")
        clusters, scratch = self.store("cluster"), self.store("components")
        over = components.ranges_of(self.corpus.rows, self.stage.cluster_memory)
        ranges = spread(self.corpus.rows * self.banding.bands, link.MOST)
        keys = self.keys("cluster", over.count if over else 1)
        done = proven(clusters, keys)
        if not done:
            keying = band.Keying(self.corpus, signs, self.store("exact"), self.banding)
            make(bands, band.run, self.keys("band", len(band.groups(self.corpus))), lambda number: keying, pool)

            def linking(number: int) -> link.Linking:
                return link.Linking(
                    self.corpus,
                    signs,
                    bands,
                    self.banding,
                    self.stage.threshold,
                    *ranges[number],
                    self.stage.measure == "containment",
                )

            make(links, link.run, self.keys("link", len(ranges)), linking, pool)
        if over and not done:
            made = components.Spread(self.corpus, signs, links, scratch, clusters, over, self.key, pool).run(keys)
        else:
            joining = cluster.Joining(self.corpus, signs, links)
            made = make(clusters, cluster.run, keys, lambda number: joining, pool)
        scratch.fs.delete("")
        return cluster.Lots.of(clusters, made)
