"""benchmarks/kernels.py: what it reads in a compiled program."""

import pytest

from benchmarks import kernels

PROGRAM = """HloModule jit_call, is_scheduled=true

%add (p: f32[], q: f32[]) -> f32[] {
  %p = f32[] parameter(0)
  %q = f32[] parameter(1)
  ROOT %sum = f32[] add(%p, %q)
}

%part (param_0.1: f32[100], param_1.2: f32[10]) -> bf16[10] {
  %param_0.1 = f32[100]{0} parameter(0)
  %param_1.2 = f32[10]{0} parameter(1)
  %slice.1 = f32[10]{0} slice(%param_0.1), slice={[10:20]}
  %sum.1 = f32[10]{0} add(%slice.1, %param_1.2)
  ROOT %convert.1 = bf16[10]{0} convert(%sum.1)
}

%small (s: (s32[])) -> (s32[]) {
  %s = (s32[]) parameter(0)
  ROOT %copy.9 = (s32[]) copy(%s)
}

%body (t: (s32[], f32[100], f32[10])) -> (s32[], f32[100], f32[10]) {
  %t = (s32[], f32[100]{0}, f32[10]{0}) parameter(0)
  %flat = f32[100]{0} get-tuple-element(%t), index=1
  %other = f32[10]{0} get-tuple-element(%t), index=2
  %images = bf16[8,4,4,3]{3,2,1,0} bitcast(%other)
  %weights = bf16[5,3,3,3]{3,2,1,0} bitcast(%other)
  %f.1 = bf16[10]{0} fusion(%flat, %other), calls=%part, metadata={op_name="x/optimizer/add"}
  %c.1 = (bf16[8,2,2,5]{3,2,1,0}, u8[0]{0}) custom-call(%images, %weights), CONVOLUTION
  ROOT %out = (s32[], f32[100]{0}, f32[10]{0}) tuple(%t, %flat, %other)
}

ENTRY %main (a: f32[100]) -> f32[100] {
  %a = f32[100]{0} parameter(0)
  %w.1 = (s32[]) while(%a), condition=%add, body=%small
  ROOT %w.2 = (s32[], f32[100]{0}) while(%a), condition=%add, body=%body
}
""".replace(
  "CONVOLUTION", 'custom_call_target="__cudnn$convForward", metadata={op_name="x/Conv_0"}'
)


def test_kernels_of_a_step():
  step = kernels.Step.of(PROGRAM)
  assert step.parts == {"convolution": 1, "optimizer": 1}
  sliced = 10 * 4 + 10 * 4 + 10 * 2  # the slice alone, not all 100 numbers
  moved = 2 * (8 * 4 * 4 * 3 + 5 * 3 * 3 * 3 + 8 * 2 * 2 * 5)
  assert step.work == [(sliced, 0), (moved, 2 * (5 * 3 * 3 * 3) * (8 * 2 * 2))]


def test_the_predicted_time():
  gpu = kernels.Gpu("one", bandwidth=1e9, memory=1, rate=1e12)
  step = kernels.Step({"rest": 2}, [(1000, 0), (1000, 4_000_000)])
  assert step.seconds(gpu) == pytest.approx(2 * kernels.COST + 1e-6 + 4e-6)


THUNKS = """000: kCommandBuffer [source | next=002 (1)]
    001: kCopy         [source | sink] kCopy
002: kWhile         [prev=000 (1) | next=000 (1)]
condition:
    003: kCustomKernel [source | sink] loop_compare_fusion
  body:
    004: kCustomKernel [source | sink] a_shorter_loop
005: kWhile         [prev=002 (1) | next=000 (1)]
condition:
    006: kCustomKernel [source | sink] loop_compare_fusion
  body:
    000: kCommandBuffer [source | next=009 (1)]
        007: kCopy         [source | sink] kCopy
        008: kCustomKernel [source | sink] loop_add_fusion
    009: kConvolution   [prev=000 (1) | next=010 (1)] kConvolution
    010: kCustomKernel [prev=009 (1) | sink] loop_add_fusion

011: kCopy         [source | sink] kCopy
012: kCopy         [source | sink] kCopy
"""


def test_a_graph_is_one_launch():
  assert kernels.launches(THUNKS) == 3
