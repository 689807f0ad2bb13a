"""Attention whose projections are layers, so that they are quantized and mapped as any other.

``torch.nn.MultiheadAttention`` holds its projections as bare weights and hands them to one function, where nothing sees
what enters them. Other modules, as Swin's, call ``F.linear`` with the weights of layers that they never call.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

FUNCTIONAL = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")
"""Names of classes (torchvision's) that use the weights of their linear layers in ``F.linear``."""


class Attention(nn.Module):
    """What ``torch.nn.MultiheadAttention`` computes, by four linear layers; arguments and results are its own.

    Args:
        source: whose weights it takes over.
    """

    def __init__(self, source: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = source.embed_dim, source.num_heads, source.head_dim
        self.dropout, self.batch_first, self.add_zero_attn = source.dropout, source.batch_first, source.add_zero_attn
        # What nn.TransformerEncoderLayer asks before it passes its layers by; with these it calls them.
        self.in_proj_bias, self._qkv_same_embed_dim = None, False
        weights = (
            source.in_proj_weight.chunk(3)
            if source.in_proj_weight is not None
            else (source.q_proj_weight, source.k_proj_weight, source.v_proj_weight)
        )
        biases = (None,) * 3 if source.in_proj_bias is None else source.in_proj_bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (_linear(w, b) for w, b in zip(weights, biases, strict=True))
        self.out_proj = _linear(source.out_proj.weight, source.out_proj.bias)
        self.bias_k, self.bias_v = source.bias_k, source.bias_v
        self.train(source.training)
        self.register_load_state_dict_pre_hook(_split)  # type: ignore[no-untyped-call]

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``torch.nn.MultiheadAttention.forward``."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        batch, extra = len(q), 0
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (torch.cat([x, b.expand(batch, 1, -1)], 1) for x, b in ((k, self.bias_k), (v, self.bias_v)))
            extra += 1
        if self.add_zero_attn:
            k, v = (torch.cat([x, x.new_zeros(batch, 1, x.shape[2])], 1) for x in (k, v))
            extra += 1
        q, k, v = (x.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v))
        scores = q @ k.transpose(2, 3) * self.head_dim**-0.5
        for mask in (attn_mask, None if key_padding_mask is None else key_padding_mask[:, None, None]):
            if mask is not None:
                mask = mask.unflatten(0, (batch, -1)) if mask.dim() == 3 else mask
                if mask.dtype is torch.bool:
                    mask = torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, -torch.inf)
                scores = scores + nn.functional.pad(mask, (0, extra))
        weights = nn.functional.dropout(scores.softmax(dim=3), self.dropout, self.training)
        result = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        told = (weights.mean(dim=1) if average_attn_weights else weights) if need_weights else None
        if not batched:
            return result[0], None if told is None else told[0]
        return result if self.batch_first else result.transpose(0, 1), told


PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Names of an :class:`Attention`'s layers."""


def _split(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let an :class:`Attention` take the state of the ``MultiheadAttention`` that it replaced."""
    for kind in ("weight", "bias"):
        if (packed := state.pop(f"{prefix}in_proj_{kind}", None)) is not None:
            state |= {f"{prefix}{name}.{kind}": part for name, part in zip(PROJECTIONS, packed.chunk(3), strict=False)}
    for name in PROJECTIONS:
        if f"{prefix}{name}_weight" in state:
            state[f"{prefix}{name}.weight"] = state.pop(f"{prefix}{name}_weight")


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, weight.device, weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    layer.weight.requires_grad_(weight.requires_grad)
    return layer


def projections_as_layers(model: nn.Module, attentions: Iterable[nn.MultiheadAttention]) -> nn.Module:
    """``model`` with an :class:`Attention` in place of each of these modules of its own; itself perhaps."""
    made = {id(module): Attention(module) for module in attentions}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in made:
            if not name:
                return made[id(module)]
            model.set_submodule(name, made[id(module)])
    return model


class _Projections(TorchFunctionMode):
    """While open, ``F.linear`` with the weight of one of these layers calls the layer, hooks and all."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = {id(layer.weight): layer for layer in layers}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        others = kwargs or {}
        layer = self.layers.get(id(args[1])) if func is nn.functional.linear and len(args) > 1 else None
        if layer is None:
            return func(*args, **others)
        bias = args[2] if len(args) > 2 else others.get("bias")
        own = cast(Tensor | None, layer.bias)
        result = layer(args[0])  # this mode is closed meanwhile
        if bias is own:
            return result
        return result + ((0 if bias is None else bias) - (0 if own is None else own))


def use_functionally(model: nn.Module) -> None:
    """Make modules that pass their linear layers by call them, so that their inputs are quantized."""
    for module in model.modules():
        if type(module).__name__ in FUNCTIONAL and any(hasattr(c, "input_quantizer") for c in module.children()):
            module.register_forward_pre_hook(_enter)
            module.register_forward_hook(_leave, always_call=True)


def _enter(module: nn.Module, inputs: Any) -> None:
    opened = ExitStack()
    opened.enter_context(parametrize.cached())  # a weight is then the same tensor each time it is read
    opened.enter_context(_Projections([child for child in module.children() if hasattr(child, "input_quantizer")]))
    module.__dict__["_opened"] = opened


def _leave(module: nn.Module, inputs: Any, output: Any) -> None:
    if "_opened" in module.__dict__:
        module.__dict__.pop("_opened").close()
