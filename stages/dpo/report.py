"""What the report says of preference pairs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inspection.charts import Fold, Histogram, PageHeading, Paragraph, Part, Table, number, parts_of
from pipeline.inspection.sections import Samples, receipts_of, some_shards, with_rows
from pipeline.schema import words_of
from pipeline.storage.store import Store

TITLE = "Preference pairs"
KOREAN = {

    "a probe of fifty steps tells the sides apart in {:.0f}% of the cases, length alone in {:.0f}%": "50스텝 학습한 분류기가 두 답을 구분하는 비율 {:.0f}%, 길이만으로 {:.0f}%",
    "asked for {}, measured {:.3f} of {} prompts in the SFT set": "SFT 집합과 겹치는 비율: 지정 {0}, 프롬프트 {2}개에서 잰 값 {1:.3f}", "No pairs.": "쌍이 없습니다.",
    "no prompts are left": "남은 프롬프트가 없습니다", "Preference pairs": "선호 쌍", "prompt": "프롬프트",
    "the judge compared {} pairs: {} ties, {} decided by position (flip rate {}), {} unparsed; correlation of verdict and length {}": "심판이 쌍 {}개를 비교: 무승부 {}, 위치에 따라 바뀜 {} (비율 {}), 읽지 못함 {}; 판정과 길이의 상관계수 {}",
    "the two sides are told apart by their surface alone": "두 답이 겉모습만으로 구분됩니다", "{:.3f} with near-copies": "비슷한 글까지 {:.3f}",
    "{} pairs; {:.1f}% of the prompts are in the SFT set; median length chosen {:.0f}, rejected {:.0f} characters; the longer side is the chosen one in {:.0f}%.": "쌍 {}개. 프롬프트의 {:.1f}%가 SFT 집합에 있습니다. 길이의 중앙값은 고른 답 {:.0f}자, 버린 답 {:.0f}자이고, {:.0f}%에서 고른 답이 더 깁니다.",
}  # fmt: skip


def section(stores: list[Store], samples: Samples) -> list[Part]:
    """Pairs: methods, overlap with SFT, lengths of both sides, examples."""
    t, parts = samples.t, list[Part]()
    for store in with_rows(stores, "PAIR"):
        read, note = some_shards(store, samples)
        rows = pa.concat_tables([store.read(shard).select(COLUMNS) for shard in read])
        parts.append(PageHeading(store.name))
        if not len(rows):
            parts.append(Paragraph(t("No pairs.")))
            continue
        chosen, rejected = (_lengths(rows[side]) for side in ("chosen", "rejected"))
        share = pc.mean(pc.fill_null(rows["in_sft"], False).cast(pa.float64())).as_py()
        facts = t(
            "{} pairs; {:.1f}% of the prompts are in the SFT set; median length chosen {:.0f}, rejected {:.0f} characters; the longer side is the chosen one in {:.0f}%.",
            number(store.require()["rows"]), 100 * share, np.median(chosen), np.median(rejected), 100 * np.mean(chosen > rejected),
        )  # fmt: skip
        edges = np.linspace(0, max(chosen.max(), rejected.max(), 10), 25)
        counts = {t(name): np.histogram(side, edges)[0].tolist() for name, side in (("chosen", chosen), ("rejected", rejected))}  # fmt: skip
        body = [
            samples.show(side[i].as_py()[-1]["content"] for side in (rows["prompt"], rows["chosen"], rows["rejected"]))
            for i in range(min(4, len(chosen)))
        ]
        parts += parts_of(
            Paragraph(facts),
            note,
            _bias(store, samples),
            Histogram([round(edge) for edge in edges.tolist()], counts, t("characters")),
            Fold(t("examples"), [Table([t("prompt"), t("chosen"), t("rejected")], body)]),
        )
    return parts


COLUMNS = ["chosen", "rejected", "prompt", "in_sft"]


def _bias(store: Store, samples: Samples) -> list[Paragraph]:
    """How the sides are told apart, the overlap as measured, and what is to be known of the judge; facts of the whole store."""
    t, sentences, warnings = samples.t, list[str](), list[str]()
    notes = next((receipt.notes for receipt in receipts_of(store) if "sides" in receipt.notes), {})
    if overlap := notes.get("sft_overlap"):
        target, share, near = overlap["asked"], overlap["share"], overlap["share_with_near_copies"]
        if share is None:
            sentences.append(t("no prompts are left"))
        else:
            sentences.append(
                t(
                    "asked for {}, measured {:.3f} of {} prompts in the SFT set",
                    target,
                    share,
                    number(overlap["prompts"]),
                )
            )
            sentences += [t("{:.3f} with near-copies", near)] if near is not None else []
    if sides := notes.get("sides"):
        sentences.append(
            t("a probe of fifty steps tells the sides apart in {:.0f}% of the cases, length alone in {:.0f}%", 100 * sides["probe_accuracy"], 100 * sides["length_accuracy"])
        )  # fmt: skip
        warnings += [t(sides["warning"])] if "warning" in sides else []
    if judge := notes.get("judge"):
        sentences.append(
            t("the judge compared {} pairs: {} ties, {} decided by position (flip rate {}), {} unparsed; correlation of verdict and length {}",
              *(number(judge[name]) for name in ("judged", "ties", "flips")), judge.get("flip_rate", "?"), number(judge["unparsed"]), judge["length_correlation"])
        )  # fmt: skip
    return [
        *([Paragraph("; ".join(sentences) + ".", "soft")] if sentences else []),
        *(Paragraph(each, "strong") for each in warnings),
    ]


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    return np.array([sum(len(text) for m in row or [] for text in words_of(m)) for row in column.to_pylist()])
