"""BERT's `vocab.txt`: a WordPiece token a line, its id the line's number. Nothing else is in the file."""

from collections.abc import Mapping
from pathlib import Path

from textmill.errors import FormatError, NotSupportedError
from textmill.files import read_json, replacing
from textmill.tokenizers.models import WordPieceModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.steps import BertNormalizer, BertSplit, DecodeWordPiece, Slot, Template

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CONFIG_FILE = "tokenizer_config.json"


def read_vocab_txt(path: Path, *, lowercase: bool | None = None) -> Pipeline:
    """The tokenizer of a `vocab.txt`, with BERT's normaliser, split and template.

    Args:
        lowercase: None: as the tokenizer_config.json beside it says (`do_lower_case`); without one, whether the
            vocabulary has no word with a capital letter from A to Z.

    Raises:
        FormatError: missing, not UTF-8, a token twice, or no `[UNK]`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"cannot read {path}: {error}", fix="check the path") from None
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    if "[UNK]" not in lines:
        raise FormatError(f"{path} is no vocab.txt: it has no line [UNK]", fix="give the vocab.txt of a BERT model")
    tokens: dict[str, int] = {}
    for id, token in enumerate(lines):
        if tokens.setdefault(token, id) != id:
            raise FormatError(
                f"{path}, line {id + 1}: the token {token!r} stands in line {tokens[token] + 1} already",
                fix="a vocab.txt has each token once",
            )
    return bert_pipeline(tokens, lowercase=_lowercase(path, tokens) if lowercase is None else lowercase)


def bert_pipeline(tokens: Mapping[str, int], *, lowercase: bool, prefix: str = "##") -> Pipeline:
    """BERT's tokenizer with these tokens."""
    added = tuple(AddedToken(content=token, id=tokens[token]) for token in SPECIAL_TOKENS if token in tokens)
    return Pipeline(
        model=WordPieceModel(tokens=tokens, prefix=prefix),
        normalizers=(BertNormalizer(lowercase=lowercase),),
        splits=(BertSplit(),),
        added=tuple(sorted(added, key=lambda token: token.id)),
        finish=(bert_template(tokens),) if "[CLS]" in tokens and "[SEP]" in tokens else (),
        decoders=(DecodeWordPiece(prefix=prefix),),
    )


def bert_template(tokens: Mapping[str, int]) -> Template:
    """[CLS] A [SEP], and [CLS] A [SEP] B [SEP] for a pair."""
    begin, end = Slot(content="[CLS]", special=True), Slot(content="[SEP]", special=True)
    single = (begin, Slot(content="A"), end)
    return Template(
        single=single,
        pair=(*single, Slot(content="B", type_id=1), Slot(content="[SEP]", special=True, type_id=1)),
        special_tokens=tuple((token, (tokens[token],)) for token in ("[CLS]", "[SEP]")),
    )


def write_vocab_txt(pipeline: Pipeline, path: Path) -> None:
    """Writes the tokens, one a line.

    Raises:
        NotSupportedError: the tokenizer is no WordPiece one, an id has no token, or a token has a line break.
        OutputError: the path can't be written.
    """
    if not isinstance(pipeline.model, WordPieceModel):
        raise NotSupportedError("a vocab.txt of a tokenizer that is not WordPiece", fix="write a tokenizer.json")
    lines = []
    for id, token in enumerate(pipeline.strings):
        if token is None or "\n" in token or "\r" in token:
            raise NotSupportedError(
                f"a vocab.txt with the token {token!r} of the id {id}", fix="write a tokenizer.json"
            )
        lines.append(token + "\n")
    with replacing(path) as file:
        file.write("".join(lines).encode())


def _lowercase(path: Path, tokens: Mapping[str, int]) -> bool:
    config = read_json(path.parent / _CONFIG_FILE) if (path.parent / _CONFIG_FILE).exists() else None
    if isinstance(config, dict) and isinstance(config.get("do_lower_case"), bool):
        return bool(config["do_lower_case"])
    words = (token for token in tokens if not (token.startswith("[") and token.endswith("]")))
    return not any("A" <= character <= "Z" for word in words for character in word)
