"""Unigram language models over pieces of text: encode, sample, the n best. Text comes normalised, blanks as ▁."""
