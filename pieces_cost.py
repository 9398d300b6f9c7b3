class E2(torch.autograd.Function):
    @staticmethod
    def forward(ctx,x):
        ctx.save_for_backward(x); return torch.empty_like(x)
    @staticmethod
    def backward(ctx,g):
        (x,)=ctx.saved_tensors; return torch.empty_like(x)
class E3(torch.autograd.Function):
    @staticmethod
    def forward(ctx,x,call,inplace):
        ctx.save_for_backward(x); ctx.call=call; return torch.empty_like(x)
    @staticmethod
    def backward(ctx,g):
        (x,)=ctx.saved_tensors; ctx.call; return torch.empty_like(x),None,None
class E4(torch.autograd.Function):
    @staticmethod
    def forward(ctx,x,call,inplace):
        key=x.dtype,call.precision
        kernel=op.kernels.get(key)
        y=torch.empty_like(x)
        kernel.on(x,y)
        ctx.save_for_backward(x); ctx.call=call; return y
    @staticmethod
    def backward(ctx,g):
        (x,)=ctx.saved_tensors; ctx.call; return torch.empty_like(x),None,None
e2=super(torch.autograd.Function,E2).apply
e3=super(torch.autograd.Function,E3).apply
e4=super(torch.autograd.Function,E4).apply
grad=torch.autograd.grad
import torch.autograd
eng=torch._C._ImperativeEngine
E=dict(globals())
print()
for s in ['e2(xr)','e3(xr,call,False)','e4(xr,call,False)','form.apply(xr,call,False)','F.silu(xr)','grad(e2(xr),xr,g)','grad(e3(xr,call,False),xr,g)','grad(e4(xr,call,False),xr,g)','grad(form.apply(xr,call,False),xr,g)','grad(F.silu(xr),xr,g)','grad(torch.relu(xr),xr,g)','grad(xr.view_as(xr),xr,g)']: t(s,100)
