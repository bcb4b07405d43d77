"""Meta tensors and the absence of a GPU, as in PyTorch."""

import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

META = """m|m+1|m.t()*2|m[0]|m[:,1:]|m[None]|m[...,0]|m@m.t()|m.sum(0)|m.mean()|m.reshape(6)|m.view(3,2)|m.expand(4,2,3)|m.unfold(1,2,1)|m.diagonal()|
m.as_strided((2,2),(1,1),1)|torch.cat([m,m])|torch.stack([m,m])|m.permute(1,0).contiguous()|m.softmax(1)|m.sort()[1]|m.topk(2)[0]|m.max(1)[0]|
torch.where(m>0,m,0)|m.cumsum(0)|m.argmax(1)|m.std()|m.var(1)|m.norm()|m.double()|m.half()+1|(m>0).sum()|m.view(torch.int32)|m.fill_(3)|m.zero_()|
m.uniform_()|m.normal_()|m.add_(1)|m.clone()|torch.zeros_like(m)|m.new_ones(3)|torch.randn(3,device='meta')|torch.arange(5,device='meta')|
torch.linspace(0,1,5,device='meta')|torch.full((2,),3.,device='meta')|torch.eye(3,device='meta')|torch.tensor([1,2],device='meta')|
torch.nn.Linear(3,4,device='meta')(m)|torch.nn.functional.layer_norm(m,(3,))|torch.nn.functional.conv1d(m[None],m[None][:,:,:2])|m.flip(0)|
m.roll(1)|m.repeat(2,2)|m.split(1)[1]|m.chunk(3,1)[2]|m.unbind()[1]|m.squeeze()|m.unsqueeze(1)|m.T|m.movedim(0,1)|torch.einsum('ij,kj->ik',m,m)|
torch.tensor(1.)*m|m.to(torch.bfloat16)|m.to('meta')|torch.ones(2,3).to('meta')|torch.ones(3,2).t().to('meta')|m.triu()|m.clamp(0,1)|m.pow(2)|m.gather(1,torch.zeros(2,2,dtype=torch.long,device='meta'))|
m.index_select(0,torch.zeros(2,dtype=torch.long,device='meta'))|torch.bmm(m[None],m.t()[None])|torch.addmm(m,m.new_ones(2,2),m)|m.requires_grad_()|
m.untyped_storage()|m.item()|m.tolist()|m.numpy()|m.cpu()|bool(m[0,0])|m.nonzero()|m[m>0]|torch.ones(2,3).copy_(m)|m.masked_select(m>0)"""
META = [c.strip() for c in META.replace("\n", "").split("|")]

CUDA = """torch.cuda.is_available()|torch.cuda.device_count()|torch.cuda.current_device()|torch.cuda.set_device(-1)|torch.cuda.get_device_name()|
torch.cuda.get_device_properties(0)|torch.cuda.synchronize()|torch.cuda.memory_allocated()|torch.cuda.max_memory_allocated()|torch.cuda.memory_reserved()|
torch.cuda.empty_cache()|torch.cuda.mem_get_info()|torch.cuda.memory_stats()|torch.cuda.manual_seed(1)|torch.cuda.manual_seed_all(1)|
torch.cuda.initial_seed()|torch.cuda.get_rng_state()|torch.cuda.get_rng_state_all()|torch.cuda.Stream()|torch.cuda.Event()|torch.cuda.current_stream()|
torch.cuda.is_initialized()|torch.cuda.init()|torch.cuda.is_bf16_supported()|torch.cuda.ipc_collect()|torch.cuda.can_device_access_peer(0,1)|
torch.cuda.get_arch_list()|torch.cuda.get_gencode_flags()|torch.cuda.CUDAGraph()|torch.cuda.FloatTensor([1])|torch.cuda.FloatTensor|
torch.cuda.OutOfMemoryError|torch.cuda.default_generators|torch.cuda.device(0).__enter__()|torch.ones(1).cuda()|torch.ones(1,device='cuda')|
torch.ones(1).to('cuda')|torch.nn.Linear(1,1).cuda()|torch.ones(1).pin_memory()|torch.device('cuda:0')|torch.device('cuda',1)|isinstance(torch.ones(1),torch.cuda.FloatTensor)"""
CUDA = [c.strip() for c in CUDA.replace("\n", "").split("|")]


def outcome(t, call):
    try:
        y = eval(call, {"torch": t, "m": t.empty(2, 3, device="meta")})
    except Exception as error:
        return type(error)
    return (repr(y), y.stride(), y.storage_offset()) if not isinstance(y, type) and hasattr(y, "stride") else repr(y)


@pytest.mark.parametrize("call", META + CUDA)
def test_same_outcome(call):
    assert outcome(rushlight, call) == outcome(torch, call)
