"""A small decoder-only language model in one plain file, with nothing distributed in it.

The shape is Llama's, with one embedding for input and output, and the names of the parameters are
those of Hugging Face's `LlamaForCausalLM`: the saved weights load there as they are.
Sizes in names: B sequences, T tokens, V words, D width, H heads, K width of a head, F of the MLP.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model. `width / heads` must be even, since positions turn pairs."""

    vocabulary: int
    width: int = 160
    layers: int = 4
    heads: int = 4
    mlp_width: int = 432
    context_tokens: int = 128
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            msg = f"width {self.width} must be a multiple of twice the heads, {2 * self.heads}"
            raise ValueError(msg)

    def as_llama(self) -> dict[str, object]:
        """The content of `config.json` under which others load the weights."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.mlp_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "max_position_embeddings": self.context_tokens,
            "rope_theta": self.rope_base,
            "rms_norm_eps": self.norm_eps,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": None,
            "torch_dtype": "float32",
        }


class GPT(nn.Module):
    """Tokens in, logits of the next token out."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.apply(_start_small)
        for name, weight in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # they add to the residual
                nn.init.normal_(weight, std=0.02 / (2 * config.layers) ** 0.5)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return functional.linear(self.model(tokens_BT), self.model.embed_tokens.weight)

    @torch.no_grad()
    def sample(
        self, tokens_T: Tensor, *, count: int, temperature: float, rng: torch.Generator
    ) -> Tensor:
        """`tokens_T` followed by `count` tokens drawn one by one."""
        for _ in range(count):
            logits_V = self(tokens_T[None, -self.config.context_tokens :])[0, -1]
            chances_V = (logits_V / temperature).softmax(dim=-1)
            tokens_T = torch.cat([tokens_T, torch.multinomial(chances_V, 1, generator=rng)])
        return tokens_T


class Decoder(nn.Module):
    cos_TK: Tensor
    sin_TK: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        cos_TK, sin_TK = _turns(config)
        self.register_buffer("cos_TK", cos_TK, persistent=False)
        self.register_buffer("sin_TK", sin_TK, persistent=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        length = tokens_BT.shape[1]
        turns = self.cos_TK[:length], self.sin_TK[:length]
        x_BTD = self.embed_tokens(tokens_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD, turns)
        last_BTD: Tensor = self.norm(x_BTD)
        return last_BTD


class Block(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.mlp = MLP(config)

    def forward(self, x_BTD: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), turns)
        out_BTD: Tensor = x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
        return out_BTD


class Attention(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, config.width, bias=False)
        self.v_proj = nn.Linear(config.width, config.width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_BTD: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        q_BHTK = _turn(self._split(self.q_proj(x_BTD)), turns)
        k_BHTK = _turn(self._split(self.k_proj(x_BTD)), turns)
        v_BHTK = self._split(self.v_proj(x_BTD))
        seen_BHTK = functional.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        out_BTD: Tensor = self.o_proj(seen_BHTK.transpose(1, 2).flatten(2))
        return out_BTD

    def _split(self, x_BTD: Tensor) -> Tensor:
        sequences, length, _ = x_BTD.shape
        return x_BTD.view(sequences, length, self.heads, -1).transpose(1, 2)


class MLP(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.mlp_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.mlp_width, bias=False)
        self.down_proj = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_BTF = functional.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD)
        out_BTD: Tensor = self.down_proj(h_BTF)
        return out_BTD


def next_token_loss(logits_BTV: Tensor, target_BT: Tensor) -> Tensor:
    """Mean cross entropy in nats per token, as a scalar."""
    return functional.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten())


def _start_small(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)


def _turns(config: GPTConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angle by which each position turns each pair of features."""
    pairs = config.width // config.heads // 2
    speed_K = config.rope_base ** (-torch.arange(pairs) / pairs)
    angle_TK = torch.outer(torch.arange(config.context_tokens), speed_K).repeat(1, 2)
    return angle_TK.cos(), angle_TK.sin()


def _turn(x_BHTK: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (Su et al. 2021), the first half of the features paired with the second."""
    cos_TK, sin_TK = turns
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cos_TK + torch.cat([-second, first], dim=-1) * sin_TK
