"""Texts to vectors: FastEmbed's models, BM25, and what is made of token rows; kept in a cache on disk."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from ragkit.encoders.bm25 import Bm25Encoder as Bm25Encoder
    from ragkit.encoders.encoder import Encoder as Encoder
    from ragkit.encoders.encoder import Token as Token
    from ragkit.encoders.encoder import load_encoder as load_encoder
    from ragkit.encoders.models import register as register
    from ragkit.encoders.models import register_models as register_models
    from ragkit.encoders.muvera import MuveraEncoder as MuveraEncoder
    from ragkit.encoders.token_pooling import TokenPooledEncoder as TokenPooledEncoder
    from ragkit.encoders.token_pooling import pool_tokens as pool_tokens
    from ragkit.encoders.variants import Variant as Variant
    from ragkit.encoders.variants import load_encoders as load_encoders

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bm25": ["Bm25Encoder"],
        "encoder": ["Encoder", "Token", "load_encoder"],
        "models": ["register", "register_models"],
        "muvera": ["MuveraEncoder"],
        "token_pooling": ["TokenPooledEncoder", "pool_tokens"],
        "variants": ["Variant", "load_encoders"],
    },
)
