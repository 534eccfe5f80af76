"""Small cross-encoders in the folder layout of sentence-transformers: they count the question's words in a passage."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx.parser
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = "what is the capital of france paris sourdough needs flour and salt a river flows through filler".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TOKENS = 32
COUNT = """
  known = Greater(input_ids, three)
  seen = And(known, real)
  not_second = Not(second)
  asked_at = And(seen, not_second)
  told_at = And(seen, second)
  rows = Unsqueeze(input_ids, two)
  columns = Unsqueeze(input_ids, one)
  same = Equal(rows, columns)
  asked_rows = Unsqueeze(asked_at, two)
  told_columns = Unsqueeze(told_at, one)
  both = And(asked_rows, told_columns)
  met = And(same, both)
  met_numbers = Cast <to = 1> (met)
  met_once = ReduceMax <keepdims = 0> (met_numbers, two)
  logits = ReduceSum <keepdims = 1> (met_once, one)
"""
HEADER = '<ir_version: 9, opset_import: ["" : 18]>'
CONSTANTS = "<int64 three = {3}, int64[1] one = {1}, int64[1] two = {2}, int64 zero = {0}>"
BERT = f"""{HEADER} bert (int64[b,n] input_ids, int64[b,n] attention_mask, int64[b,n] token_type_ids)
=> (float[b,1] logits) {CONSTANTS} {{
  real = Greater(attention_mask, zero)
  second = Greater(token_type_ids, zero)
  {COUNT}
}}"""
# Without types of tokens: what comes after the first separator is the passage.
XLM_R = f"""{HEADER} xlmr (int64[b,n] input_ids, int64[b,n] attention_mask) => (float[b,1] logits) {CONSTANTS} {{
  real = Greater(attention_mask, zero)
  is_end = Equal(input_ids, three)
  ends = Cast <to = 7> (is_end)
  before = CumSum <exclusive = 1> (ends, one)
  second = Greater(before, zero)
  {COUNT}
}}"""
MASKED = BERT.replace("token_type_ids", "pixels")


def cross_encoder(folder: Path, graph: str = BERT, at: str = "model.onnx", **config: object) -> Path:
    """Write a model's folder; ``config`` replaces entries of its config.json."""
    (folder / at).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx.parser.parse_model(graph), str(folder / at))
    settings = {"model_type": "bert", "max_position_embeddings": TOKENS, "num_labels": 1, "pad_token_id": 0, **config}
    (folder / "config.json").write_text(json.dumps(settings))
    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
