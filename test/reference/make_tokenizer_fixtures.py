"""Small tokenizers in the layout of model folders, and what transformers and sentencepiece make of some texts.

Writes test/fixtures/tokenizers: `clip` (vocab.json and merges.txt, as Stable Diffusion 1.4 has them), `clip_pad_zero` (the
pad token `!` of Stable Diffusion 3's tokenizer_2), `clip_json` (the first as a tokenizer.json), `t5` (spiece.model),
`t5_json` (tokenizer.json) and `expected.json`. Read by test/models/text/tokenizer.test.ts.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, CLIPTokenizer, T5Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode, import_protobuf

ROOT = Path(__file__).parent.parent / "fixtures" / "tokenizers"
START, END = "<|startoftext|>", "<|endoftext|>"

SHAPES = ["circle", "square", "triangle", "star", "heart", "diamond"]
COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "black", "white"]
CORPUS = [
    f"{size} {colour} {shape} {relation} the {other}, it's a {word} picture of {count} {shape}s."
    for size, relation, word, count in [
        ("a small", "above", "simple", "two"), ("one large", "below", "bright", "three"),
        ("the tiny", "left of", "calm", "12"), ("They'll draw a", "right of", "naïve café", "20"),
    ]
    for colour in COLOURS for shape, other in zip(SHAPES, SHAPES[1:] + SHAPES[:1])
]

CORPUS += [
    "An oil painting of a lighthouse at sunset, waves breaking on the rocks, and a sailing boat far away.",
    "Photograph of an astronaut riding a horse on the moon; the horse isn't riding the astronaut.",
    "Portrait of an elderly gardener with a straw hat, standing in a field of sunflowers, soft lighting.",
    "Two cats and three dogs sitting in a wooden boat, watching the stars above the lake.",
    "A watercolour of mountains in winter, snow on the pines, smoke rising from a small wooden house.",
    "Isometric drawing of a library, with reading lamps, standing shelves and a sleeping cat.",
    "A steaming bowl of noodles on a wooden table, photographed from above, with natural lighting.",
    "Sketch of a sailing ship in a storm, lightning breaking above the waves, drawn in black ink.",
] * 2

TEXTS = [
    "",
    "a red circle above a small blue square",
    "  Two   GREEN\ttriangles\n and one\u00a0star ",
    "it's a dog's life, they'll say we've won!",
    "naïve café, ÜNÏCODE",
    "cafe\u0301 in two code points",
    "12 cats & 3 dogs (2024) ½ ²",
    "wow!!! a ! star!",
    "日本語 の 円",
    "🙂 emoji, ﬁne ﬂight, ｆｕｌｌ　ｗｉｄｔｈ",
    "zero\u200bwidth soft\u00adhyphen Ⅳ ㎞ …",
    f"a {END} inside",
    f"a {END.upper()} in capitals",
    "a </s> inside",
    "a\ufeffb red\ufeff circle",
    "\ufeff",
    "a\ufeff's \ufeff12",
    "red\u0085circle\u0085",
    "ΟΔΟΣ ΣΑΣ Σ",
    "İstanbul I ẞ Ǆ",
    "red\u2028circle\u3000x red\u001ccircle red\u180ecircle",
    "red " * 75,
    "red " * 76,
    "a small red circle above the blue square, " * 12,
]


def write(folder: Path, files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (folder / name).write_text(text + "\n", encoding="utf-8")


def clip_merges(count: int) -> list[tuple[str, str]]:
    """Byte pairs learned from the corpus."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix="</w>", min_frequency=2)
    tokenizer.train_from_iterator(CORPUS, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(merge) for merge in merges[:count]]


def make_clip() -> None:
    merges = clip_merges(160)
    letters = list(bytes_to_unicode().values())  # the order of CLIP: `!` is 0
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    files = {
        "vocab.json": vocab,
        "merges.txt": "\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)]),
    }
    special = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    token = lambda content: {"content": content, **special}
    names = {"bos_token": token(START), "eos_token": token(END), "unk_token": token(END)}
    config = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "errors": "replace"}
    for folder, pad in [("clip", END), ("clip_pad_zero", "!")]:
        write(ROOT / folder, {
            **files,
            "special_tokens_map.json": {**names, "pad_token": pad},
            "tokenizer_config.json": {**config, **names, "pad_token": pad},
        })  # fmt: skip
    CLIPTokenizer.from_pretrained(ROOT / "clip").save_pretrained(ROOT / "clip_json")


def make_t5() -> None:
    folder = ROOT / "t5"
    write(folder, {})
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "corpus.txt").write_text("\n".join(CORPUS), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=f"{work}/corpus.txt", model_prefix=f"{work}/spiece", model_type="unigram", vocab_size=200,
            hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="nmt_nfkc", character_coverage=1.0,
        )  # fmt: skip
        shutil.copy(f"{work}/spiece.model", folder / "spiece.model")
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write(folder, {
        "special_tokens_map.json": names,
        "tokenizer_config.json": {**names, "extra_ids": 100, "model_max_length": 512, "tokenizer_class": "T5Tokenizer"},
    })  # fmt: skip
    T5Tokenizer.from_pretrained(folder).save_pretrained(ROOT / "t5_json")


def drop_charsmaps() -> None:
    """Leaves out the normaliser's table of 240 kB, which its name, nmt_nfkc, stands for."""
    proto = import_protobuf().ModelProto()
    proto.ParseFromString((ROOT / "t5/spiece.model").read_bytes())
    proto.normalizer_spec.precompiled_charsmap = b""
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.ClearField("model_prefix")
    (ROOT / "t5/spiece.model").write_bytes(proto.SerializeToString())
    path = ROOT / "t5_json/tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": ""}
    write(path.parent, {path.name: tokenizer})


def expected(folder: str, length: int) -> list[dict[str, object]]:
    tokenizer = AutoTokenizer.from_pretrained(ROOT / folder)
    cases = []
    for text in TEXTS:
        ids = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
        full = tokenizer(text).input_ids
        cut = tokenizer.decode(full[length - 1 : -1]) if len(full) > length else ""
        cases.append({"text": text, "ids": ids, "cut": cut})
    return cases


def check_sentencepiece(cases: list[dict[str, object]]) -> None:
    """The C++ library itself, for texts without special tokens."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(ROOT / "t5/spiece.model"))
    for case in cases:
        # U+0085 is white space to transformers alone.
        if "</s>" in case["text"] or "\u0085" in case["text"] or case["cut"]:
            continue
        ids = [*processor.encode(case["text"]), 1]
        if ids != case["ids"][: len(ids)]:
            sys.exit(f"transformers and sentencepiece differ: {case['text']!r}: {case['ids']} and {ids}")


if __name__ == "__main__":
    shutil.rmtree(ROOT, ignore_errors=True)
    make_clip()
    make_t5()
    t5 = expected("t5", 128)
    check_sentencepiece(t5)
    drop_charsmaps()
    cases = {"clip": expected("clip", 77), "clip_pad_zero": expected("clip_pad_zero", 77), "t5": t5}
    (ROOT / "expected.json").write_text(json.dumps(cases, ensure_ascii=True, indent=None) + "\n")
