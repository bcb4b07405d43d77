"""Names of PyTorch's top level that are not here, each with its reason.

`torch.compile` has to raise and say that it is not implemented, and `hasattr(torch, "compile")` has to be False, because
programs ask so before they use it. So the error is both a NotImplementedError and an AttributeError.

Invariant: a name that is implemented leaves this list (tests/test_names.py holds the two apart).
"""

from __future__ import annotations


class NotHere(NotImplementedError, AttributeError):
    """A name of PyTorch's that rushlight does not have."""


NotHere.__name__ = NotHere.__qualname__ = "NotImplementedError"
NotHere.__module__ = "builtins"

_SCRIPT = "TorchScript is not here: Python itself runs"
_QUANTIZED = "there are no quantized tensors here"
_VENDOR = "it is one vendor's kernel; call the general function (conv2d, batch_norm, max_pool2d, ...)"
_STEPS = "it is a step of batch normalization over several GPUs; call batch_norm"
_TRACED = "it belongs to symbolic tracing, which is not here"
_PACKAGE = "this package is not here"

_NAMES = {
    _SCRIPT: """AliasDb AnyType Argument ArgumentSpec AwaitType BenchmarkConfig BenchmarkExecutionStats Block BoolType BufferDict CallStack Capsule
        ClassType Code CompilationUnit CompleteArgumentSpec ComplexType ConcreteModuleType ConcreteModuleTypeBuilder DeepCopyMemoTable
        DeserializationStorageContext DeviceObjType DictType EnumType ErrorReport ExecutionPlan FileCheck FloatType FunctionSchema Future FutureType
        Gradient Graph GraphExecutorState IODescriptor InferredType IntType InterfaceType JITException ListType LiteScriptModule LockingLogger LoggerBase
        ModuleDict Node NoneType NoopLogger NumberType OperatorInfo OptionalType ParameterDict PyObjectType PyTorchFileReader PyTorchFileWriter RRefType
        ScriptClass ScriptClassFunction ScriptDict ScriptDictIterator ScriptDictKeyIterator ScriptFunction ScriptList ScriptListIterator ScriptMethod
        ScriptModule ScriptModuleSerializer ScriptObject ScriptObjectProperty SerializationStorageContext StaticModule StreamObjType StringType SymBoolType
        SymIntType TensorType ThroughputBenchmark TracingState TupleType Type UnionType Use Value AggregationType classes fork import_ir_module
        import_ir_module_from_buffer jit merge_type_from_type_comment parse_ir parse_schema parse_type_comment unify_type_list wait""",
    _QUANTIZED: """QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage ao choose_qparams_optimized empty_quantized
        fake_quantize_per_channel_affine fake_quantize_per_tensor_affine fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
        fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight fbgemm_pack_gemm_matrix_fp16
        fbgemm_pack_quantized_matrix
        fused_moving_avg_obs_fake_quant per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine per_tensor_symmetric
        qscheme quantization quantized_batch_norm quantized_gru quantized_gru_cell quantized_lstm quantized_lstm_cell quantized_max_pool1d
        quantized_max_pool2d quantized_max_pool3d quantized_rnn_relu_cell quantized_rnn_tanh_cell""",
    _VENDOR: """cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu
        cudnn_convolution_transpose cudnn_grid_sampler cudnn_is_acceptable miopen_batch_norm miopen_convolution miopen_convolution_add_relu
        miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss miopen_depthwise_convolution miopen_rnn mkldnn_adaptive_avg_pool2d
        mkldnn_convolution mkldnn_linear_backward_weights mkldnn_max_pool2d mkldnn_max_pool3d mkldnn_rnn_layer""",
    _STEPS: """batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats batch_norm_gather_stats_with_counts
        batch_norm_stats batch_norm_update_stats""",
    _TRACED: "DispatchKey DispatchKeySet ExcludeDispatchKeyGuard Tag cond sym_constrain_range sym_constrain_range_for_size sym_fresh_size while_loop",
    _PACKAGE: """distributed export futures fx hub library monitor multiprocessing nested onnx package profiler quasirandom sparse""",
    "there is no backend of that name": """get_autocast_ipu_dtype get_autocast_xla_dtype is_autocast_ipu_enabled is_autocast_xla_enabled
        set_autocast_ipu_dtype set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled""",
    "call torch.linalg.vector_norm": "native_norm",
    "there are no sparse tensors here": "ccol_indices_copy col_indices_copy crow_indices_copy indices_copy row_indices_copy values_copy",
    "the streams of accelerators are under torch.cuda": "Event Stream thread_safe_generator",
    "use torch.UntypedStorage or a typed one (torch.FloatStorage)": "Storage StorageBase",
}
ABSENT = {name: reason for reason, names in _NAMES.items() for name in names.split()}


def refusal(name):
    """The error for `torch.<name>` where that is a name of PyTorch's, else None."""
    reason = ABSENT.get(name)
    return None if reason is None else NotHere(f"torch.{name} is not implemented in rushlight: {reason}")


__all__ = ["ABSENT", "NotHere", "refusal"]
