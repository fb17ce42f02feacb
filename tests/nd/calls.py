"""Calls whose results MXNet and jitnet are asked for, in groups: expressions of `mx`, `nd`, `np` and the arrays of `inputs`."""
import functools
import itertools


def inputs(nd, np):
    """The arrays that expressions speak of; new for every expression, the same numbers in both libraries."""
    r = np.random.RandomState(7)
    x = r.uniform(-2, 2, (2, 3, 4)).round(2).astype("float32")
    spd = (np.array([[4, 1, .5], [1, 3, .2], [.5, .2, 2]]) * np.arange(1, 3)[:, None, None]).astype("float32")
    arrays = {"x": x, "y": r.uniform(-2, 2, (2, 3, 4)).round(2), "p": r.uniform(.1, .9, (3, 4)).round(2),
              "row": r.uniform(-1, 1, 4),
              "m": r.uniform(-1, 1, (3, 4)).round(2), "w": r.uniform(-1, 1, (4, 2)).round(2), "col": r.uniform(.5, 2, (3, 1)),
              "t": np.array([[3, 1, 2, 1], [5, 5, 0, -1], [2, 7, 2, 7]]), "v": np.array([1, -2, 3, .5]), "spd": spd,
              "idx": np.array([[0, 2], [1, 0]]), "far": np.array([-5, 0, 3, 9]), "lens": np.array([1, 3, 2]),
              "z": np.zeros((2, 2)), "one": np.array([2.5])}
    scope = {name: nd.array(value) for name, value in arrays.items()}
    scope["i"] = nd.array(np.array([[7, -7, 3], [-3, 2, 0]]), dtype="int32")
    scope["j"] = nd.array(np.array([[2, 2, -2], [2, -2, 5]]), dtype="int32")
    scope["d"] = nd.array(x[0], dtype="float64")
    return scope


def gradients(mx):
    """The function `grad` of expressions: gradients of the sum of f(*arrays) weighted by 1, 2, 3, ... at each array."""
    def grad(f, *arrays):
        arrays = [a.copy() for a in arrays]
        for a in arrays:
            a.attach_grad()
        with mx.autograd.record():
            y = f(*arrays)
        y.backward(mx.nd.arange(1, y.size + 1).reshape(y.shape).astype(y.dtype))
        return [a.grad for a in arrays]
    return grad


def norm(nd, mx, x, **options):
    """BatchNorm in training: its output, gradients and states."""
    n = x.shape[options.get("axis", 1)]
    states = [nd.arange(n), nd.arange(1, n + 1)]
    found = gradients(mx)(lambda a, b, c: nd.BatchNorm(a, b, c, *states, **options), x, nd.arange(1, n + 1), nd.arange(n))
    return found + states


def scope(mx, np):
    """What the names in expressions stand for; new for every expression."""
    arrays = inputs(mx.nd, np)
    norms = functools.partial(norm, mx.nd, mx, arrays["x"])
    return {"mx": mx, "nd": mx.nd, "np": np, "grad": gradients(mx), "norm": norms, **arrays}


def words(text):
    """The words of a text."""
    return text.split()


UNARY = words("abs arctan arcsinh cbrt ceil cos cosh degrees erf exp expm1 fix floor negative radians relu rint "
              "round sigmoid sign sin "
         "sinh softsign square tan tanh trunc identity logical_not zeros_like ones_like hard_sigmoid flatten Flatten "
         "size_array shape_array")
POSITIVE = words("log log10 log1p log2 sqrt rsqrt rcbrt reciprocal gamma gammaln arcsin arccos arctanh erfinv")
INFIX = words("+ - * / % ** > >= < <= == !=")
BROADCAST = words("add sub mul div mod power maximum minimum hypot equal not_equal greater greater_equal lesser lesser_equal "
             "logical_and logical_or logical_xor plus minus")
PYTHON = words("add subtract multiply divide true_divide modulo power maximum minimum equal not_equal greater "
              "greater_equal lesser "
          "lesser_equal logical_and logical_or logical_xor")


def calls(text):
    """The expressions of a text, in which semicolons stand between them."""
    return [call.strip() for call in text.split(" ;") if call.strip()]


GROUPS = {
    "unary": [
        *[f'nd.{f}(x)' for f in UNARY],
        *[f'nd.{f}(p)' for f in POSITIVE],
        *[f'nd.{f}(i)' for f in ('abs', 'square', 'sign', 'relu')],
        *calls("""
        nd.round(nd.array([-2.5,-1.5,-.5,.5,1.5,2.5])) ; nd.rint(nd.array([-2.5,-1.5,-.5,.5,1.5,2.5])) ;
        nd.fix(nd.array([-2.5,1.9])) ; nd.arccosh(p+1) ; nd.gamma(nd.array([-1.5, .3, 5])) ; x.abs() ; x.exp() ; x.sigmoid() ;
        nd.cast(x*3, dtype='int32') ; (x*3).astype('int32') ; nd.Cast(i, dtype='float32') ; nd.clip(x, -1, 1) ;
        nd.clip(x, a_min=0, a_max=.5) ; x.clip(-.5, .5) ; i.clip(-2, 2) ; nd.hard_sigmoid(x, alpha=.5) ; -x ; -i ; abs(x) ;
        d.tanh()
        """)],
    "infix": [
        *[f'x {o} y' for o in INFIX],
        *[f'x {o} 1.5' for o in INFIX if o != '**'],
        *[f'2 {o} p' for o in INFIX],
        *[f'i {o} j' for o in INFIX if o not in ('**', '%', '/')],
        *[f'i {o} 2' for o in INFIX],
        *[f'i {o} 1.5' for o in INFIX],
        *[f'm {o} col' for o in INFIX if o != '**'],
        *[f'p ** {e}' for e in (2, 0.5, -1)],
        *calls("""
        x ** 2 ; i / j ; i % j ; d + d ; d * 2 ; x % 0.7 ; x % nd.zeros_like(x) ; 1 / z ; x[0] + row ; row - x ; 7 / j ; 7 % j ;
        2.5 - i ; one + x ; x + one
        """)],
    "broadcast": [
        *[f'nd.broadcast_{f}(m, col)' for f in BROADCAST if f != 'power'],
        *[f'nd.{f}(p, col)' for f in PYTHON],
        *[f'nd.{f}(p, .5)' for f in PYTHON],
        *[f'nd.{f}(.5, p)' for f in PYTHON],
        *calls("""
        nd.broadcast_power(p, col) ; nd.elemwise_add(x, y) ; nd.elemwise_mul(x, y) ; nd.add_n(x, y, x) ;
        nd.ElementWiseSum(x, y) ; nd.broadcast_to(col, shape=(3, 4)) ; nd.broadcast_to(col, shape=(0, 5)) ;
        nd.broadcast_axis(col, axis=1, size=3) ; nd.broadcast_like(col, m) ; col.broadcast_to((3, 2)) ;
        nd.broadcast_axes(col.reshape((1,3,1)), axis=(0,2), size=(2,4)) ; nd.elemwise_add(m, col) ; nd.broadcast_add(m, w) ;
        m + i ; nd.add_n(m, col)
        """)],
    "reduce": [
        *[f'nd.{f}(x{a})' for f, a in itertools.product(words('sum mean max min prod nansum nanprod'),
            ('', ', axis=1', ', axis=(0, 2)', ', axis=-1, keepdims=True', ', axis=1, exclude=True',
             ', axis=(0, 2), keepdims=1, exclude=1'))],
        *[f'x.{f}(axis=0)' for f in words('sum mean max min prod norm')],
        *[f'i.{f}()' for f in ('sum', 'mean', 'max', 'min', 'prod')],
        *calls("""
        nd.norm(x) ; nd.norm(x, ord=1) ; nd.norm(x, axis=1) ; nd.norm(x, ord=1, axis=(0,1), keepdims=True) ; nd.sum(x, 1) ;
        nd.sum(x, axis=5) ; nd.sum(x, axis=()) ; nd.cumsum(x, axis=1) ; nd.cumsum(m) ; nd.moments(m, axes=(0,)) ;
        nd.moments(x, axes=(0, 2), keepdims=True) ; nd.sum_axis(x, axis=0) ; nd.max_axis(x, axis=0) ; x.sum(keepdims=True) ;
        one.sum() ; d.sum(axis=1) ; nd.softmax(x) ; nd.softmax(x, axis=1) ; nd.softmax(x, temperature=2.0) ; nd.log_softmax(x) ;
        nd.log_softmax(x, axis=0) ; nd.softmin(x, axis=1) ; x.softmax(axis=0) ; x.log_softmax() ;
        nd.softmax(m, lens.astype('int32'), axis=1, use_length=True)
        """)],
    "shape": [
        *calls("""
        x.reshape((4, 6)) ; x.reshape((0, -1)) ; x.reshape(-1) ; x.reshape(6, 4) ; x.reshape((-3, 0)) ;
        x.reshape((0, -4, 3, 1, 0)) ; x.reshape((-2,)) ; x.reshape((2, -2)) ; x.reshape((-4, 1, 2, -2)) ;
        x.reshape((-1, 0), reverse=True) ; x.reshape((5, 5)) ; nd.reshape(x, shape=(0, 0, 2, 2)) ;
        nd.Reshape(x, shape=(-1, 4), reverse=True) ; x.T ; nd.transpose(x, axes=(1, 0, 2)) ; x.transpose() ;
        x.transpose((2, 0, 1)) ; x.expand_dims(1) ; nd.expand_dims(x, axis=-1) ; col.squeeze() ; nd.squeeze(one) ;
        col.squeeze(axis=1) ; nd.swapaxes(x, dim1=0, dim2=2) ; x.swapaxes(0, 1) ; nd.flip(x, axis=1) ;
        nd.reverse(x, axis=(0, 2)) ; nd.tile(m, reps=(2, 1)) ; nd.tile(row, reps=(2, 3)) ; m.tile(2) ; nd.repeat(m, repeats=2) ;
        nd.repeat(m, repeats=2, axis=1) ; nd.concat(m, m, dim=0) ; nd.concat(x, y) ; nd.Concat(x, y, dim=2) ;
        nd.concat(*[m, m], dim=-1) ; nd.concatenate([m, m]) ; nd.stack(m, m) ; nd.stack(m, m, axis=1) ;
        nd.stack(m, m, axis=-1) ;
        nd.split(x, num_outputs=3) ; nd.split(x, 2, axis=2) ; nd.split(x, num_outputs=2, axis=0, squeeze_axis=True) ;
        nd.SliceChannel(m, num_outputs=4) ; nd.split_v2(m, (1, 3), axis=1) ; nd.split_v2(m, 3) ;
        nd.slice(x, begin=(0, 1), end=(1, 3)) ; nd.slice(x, begin=(None, 0), end=(None, 3), step=(1, 2)) ;
        nd.slice(x, begin=(1, None), end=(None, None), step=(-1, 1)) ; nd.slice_axis(x, axis=1, begin=1, end=None) ;
        nd.slice_axis(x, axis=-1, begin=-2, end=-1) ; nd.slice_like(x, m.reshape((1, 3, 4))) ; nd.slice_like(m, z, axes=(1,)) ;
        nd.pad(x.reshape((1, 2, 3, 4)), mode='constant', pad_width=(0, 0, 0, 0, 1, 2, 0, 1), constant_value=3) ;
        nd.pad(x.reshape((1, 2, 3, 4)), mode='edge', pad_width=(0, 0, 0, 0, 1, 2, 0, 1)) ;
        nd.pad(x.reshape((1, 2, 3, 4)), mode='reflect', pad_width=(0, 0, 0, 0, 1, 2, 0, 1)) ; nd.diag(m) ; nd.diag(row) ;
        nd.diag(row, k=1) ; nd.diag(m, k=-1) ; nd.diag(x, axis1=1, axis2=2) ; nd.moveaxis(x, 0, 2) ;
        nd.moveaxis(x, (0, 1), (2, 0)) ; nd.space_to_depth(nd.arange(32).reshape((1, 2, 4, 4)), block_size=2) ;
        nd.khatri_rao(m, m) ; nd.depth_to_space(nd.arange(32).reshape((1, 8, 2, 2)), block_size=2) ;
        nd.reshape_like(m, nd.zeros((4, 3))) ; nd.batch_dot(x, nd.transpose(y, axes=(0, 2, 1))) ; nd.flatten(x) ;
        nd.shape_array(x) ; nd.split(m, 5) ; x.flip(axis=0)
        """)],
    "index": [
        *calls("""
        x[1] ; x[0, 1] ; x[:, 1] ; x[0, 1, 2] ; x[-1, ::2] ; x[..., 0] ; x[None, 1] ; x[:, None, 1:] ; x[[1, 0]] ; row[::-1] ;
        x[nd.array([1, 0])] ; x[:, nd.array([2, 0])] ; x[nd.array([1, 0]), nd.array([2, 1])] ; x[idx] ; row[1] ; x[5] ;
        x[0, 7] ;
        x[1:1] ; x[:, [0, 2], 1] ; nd.take(m, idx) ; nd.take(m, idx, axis=1) ; nd.take(row, far) ;
        nd.take(row, far, mode='wrap') ; m.take(nd.array([0, 2])) ; nd.batch_take(m, lens.astype('int32')) ; nd.pick(m, lens) ;
        nd.pick(m, lens, axis=1, keepdims=True) ; nd.pick(m, nd.array([0, 1, 2, 1]), axis=0) ;
        nd.pick(m, nd.array([-1, 9, 2]), mode='clip') ; nd.pick(m, nd.array([-1, 9, 2]), mode='wrap') ; nd.one_hot(lens, 4) ;
        nd.one_hot(idx, depth=3, on_value=5, off_value=-1) ; nd.one_hot(far, 4) ; nd.one_hot(idx, 3, dtype='int32') ;
        nd.where(x > 0, x, y) ; nd.where(nd.array([1, 0]), x, y) ; nd.gather_nd(m, idx) ; nd.gather_nd(x, nd.array([[0, 1]])) ;
        nd.scatter_nd(nd.array([2, 3]), nd.array([[1, 0], [0, 2]]), shape=(2, 3)) ;
        nd.SequenceMask(x, nd.array([1, 2, 1]), use_sequence_length=True) ;
        nd.SequenceMask(x, nd.array([1, 2]), use_sequence_length=True, axis=1, value=-1) ; nd.SequenceMask(x) ;
        nd.SequenceLast(x, nd.array([1, 2, 1]), use_sequence_length=True) ; nd.SequenceLast(x) ; nd.SequenceReverse(x) ;
        nd.SequenceReverse(x, nd.array([1, 2, 1]), use_sequence_length=True) ; nd.ravel_multi_index(idx, shape=(3, 4)) ;
        nd.unravel_index(nd.array([1, 6, 11]), shape=(3, 4)) ; nd.contrib.boolean_mask(m, nd.array([1, 0, 1])) ;
        nd.argmax(x, axis=1) ; nd.argmin(x, axis=2, keepdims=True) ; nd.argmax(t) ; nd.argmax(t, axis=1) ;
        nd.argmin(t, axis=0) ;
        nd.argmax_channel(t) ; i.argmax(axis=1) ; d.argmax(axis=0) ; nd.sort(t) ; nd.sort(t, axis=0) ;
        nd.sort(t, is_ascend=False) ; nd.sort(t, axis=None) ; nd.argsort(m) ; nd.argsort(m, axis=0, is_ascend=False) ;
        nd.argsort(m, dtype='int32') ; nd.argsort(m, axis=None) ; nd.topk(m) ; nd.topk(m, k=2) ;
        nd.topk(m, k=2, ret_typ='value') ; nd.topk(m, k=2, ret_typ='both') ; nd.topk(m, k=2, ret_typ='mask') ;
        nd.topk(m, k=2, axis=0, is_ascend=True) ; nd.topk(m, k=3, axis=None) ; nd.topk(m, k=2, ret_typ='both', dtype='int32') ;
        m.topk(k=1, ret_typ='value') ; m.sort(axis=0) ; m.argsort() ; m.pick(lens) ; m.one_hot(3) ;
        nd.onehot_encode(lens, nd.zeros((3, 4)))
        """)],
    "linalg": [
        *calls("""
        nd.dot(m, w) ; nd.dot(row, v) ; nd.dot(x, w) ; nd.dot(x, nd.ones((4, 2, 3))) ; nd.dot(m, m, transpose_b=True) ;
        nd.dot(m, m, transpose_a=True) ; nd.dot(x, nd.ones((2, 5)), transpose_a=True) ;
        nd.dot(m, nd.ones((2, 3, 4)), transpose_b=True) ; nd.dot(m, m) ; nd.dot(m, row) ; nd.batch_dot(x, y, transpose_b=True) ;
        nd.batch_dot(x, y, transpose_a=True) ; nd.linalg.gemm2(x, y, transpose_b=True) ; nd.linalg_gemm2(m, w, alpha=2) ;
        nd.linalg.gemm(m, w, nd.ones((3, 2)), beta=.5) ; nd.linalg.potrf(spd) ; nd.linalg.potri(nd.linalg.potrf(spd)) ;
        nd.linalg.trsm(nd.linalg.potrf(spd), nd.ones((2, 3, 1))) ;
        nd.linalg.trsm(nd.linalg.potrf(spd), nd.ones((2, 1, 3)), rightside=True, transpose=True, alpha=2) ;
        nd.linalg.trmm(spd, nd.ones((2, 3, 2))) ; nd.linalg.trmm(spd, nd.ones((2, 2, 3)), rightside=True, transpose=True) ;
        nd.linalg.sumlogdiag(spd) ; nd.linalg.syrk(m) ; nd.linalg.syrk(m, transpose=True, alpha=.5) ; nd.linalg.inverse(spd) ;
        nd.linalg.det(spd) ; nd.linalg.slogdet(spd) ; nd.linalg.gelqf(m) ; nd.linalg.syevd(spd)[1] ;
        nd.linalg.extractdiag(spd) ;
        nd.linalg.extractdiag(spd, offset=1) ; nd.linalg.makediag(m) ; nd.linalg.makediag(m, offset=-1) ;
        nd.linalg.extracttrian(spd) ; nd.linalg.extracttrian(spd, offset=1) ; nd.linalg.extracttrian(spd, lower=False) ;
        nd.linalg.maketrian(nd.arange(6), offset=1) ; nd.linalg.maketrian(nd.arange(6)) ;
        nd.linalg.maketrian(nd.arange(6), lower=False) ; nd.linalg.det(spd[0]) ; nd.linalg.potrf(spd[0])
        """)],
    "create": [
        *calls("""
        nd.array([1, 2]) ; nd.array([[True, False]]) ; nd.array(np.ones(2, 'int64')) ; nd.array(i) ;
        nd.array(i, dtype='float64') ; nd.zeros((2, 3)) ; nd.zeros(3) ; nd.ones((2,), dtype='int32') ; nd.full((2, 2), 7) ;
        nd.arange(5) ; nd.arange(1, 7, 2) ; nd.arange(3, repeat=2) ; nd.arange(0, 1, .25, dtype='float64') ;
        nd.linspace(0, 1, 5) ; nd.eye(3) ; nd.eye(2, 4, 1) ; nd.array(3) ; x.copy() ; x.astype('float16') ;
        x.as_in_context(mx.cpu(1)) ; x.copyto(mx.cpu(2)) ; x.copyto(nd.zeros((2, 3, 4))) ; nd.zeros_like(i) ; x.detach() ;
        nd.concat(i, j, dim=0) ; x.zeros_like() ; x.ones_like() ; nd.empty((2, 3)).shape ; x.shape ; x.size ; x.ndim ;
        str(x.context) ; x.dtype ; repr(nd.ones((1, 2))) ; len(x) ; one.asscalar() ; bool(one) ; bool(x) ; x.asnumpy().dtype ;
        str(mx.cpu(3)) ; mx.cpu(0) == mx.cpu() ; mx.cpu(1).device_typeid ; mx.Context('cpu', 2).device_id ;
        mx.current_context() ; [float(r.sum().asscalar()) for r in m] ; x.stype ; nd.histogram(row, bins=2, range=(-1, 1))
        """)],
    "gradient": [
        *[f"grad(nd.{f}, x)" for f in UNARY if f not in words("size_array shape_array logical_not zeros_like ones_like")],
        *[f"grad(nd.{f}, p)" for f in POSITIVE],
        *[f"grad(nd.broadcast_{f}, p, col)" for f in words("add sub mul div power maximum minimum hypot")],
        *[f"grad(lambda a: {e}, x)"
          for e in words("a*2 a-1 3-a a/2 2/a a*a -a a%1.5 a[1] a[0,1] a[:,1] a[:,::2] a[...,1:3] a.T 2**a")],
        *[f"grad(lambda a: nd.{f}(a{rest}), t)" for f in words("sum mean max min norm nansum")
          for rest in ("", ", axis=1", ", axis=0, keepdims=True")],
        *[f"grad(lambda a: nd.{f}, m)" for f in (
            "softmax(a)", "log_softmax(a, axis=0)", "softmin(a)", "softmax(a, temperature=3.0)", "clip(a, -.5, .5)",
            "dot(a, w)",
            "dot(w, a, transpose_a=True, transpose_b=True)", "concat(a, a, dim=1)", "stack(a, a)", "tile(a, reps=(2, 2))",
            "repeat(a, repeats=2, axis=1)", "reverse(a, axis=0)", "slice(a, begin=(0, 1), end=(2, 3))", "take(a, idx)",
            "slice_axis(a, axis=1, begin=1, end=3)", "pick(a, lens)", "where(a > 0, a, 2 * a)", "gather_nd(a, idx)", "diag(a)",
            "topk(a, k=2, ret_typ='value')", "sort(a, axis=1)", "expand_dims(a, axis=1)", "reshape(a, shape=(-1, 2))",
            "maximum(a, 0)",
            "broadcast_to(a.reshape((1, 3, 4)), shape=(2, 3, 4))",
            "SequenceMask(a, nd.array([1, 2, 1, 3]), use_sequence_length=True)",
            "linalg.gemm2(a, a, transpose_b=True)", "linalg.syrk(a)", "transpose(a)", "split(a, 2)[1]", "swapaxes(a, 0, 1)",
            "maximum(a, a)", "add_n(a, a, a)", "cast(a, dtype='float64')", "squeeze(a.reshape((1, 3, 4)))", "flatten(a)")],
        *[f"grad(lambda a: nd.linalg.{f}, spd)" for f in ("det(a)", "inverse(a)", "potrf(a)", "slogdet(a)[1]", "sumlogdiag(a)",
                                                          "extractdiag(a)", "trmm(a, a)", "trsm(a, nd.ones((2, 3, 1)))")]],
    "layers": [
        *[f"grad(lambda a: nd.Activation(a, act_type='{f}'), x)" for f in words('relu sigmoid tanh softrelu softsign')],
        *[f"grad(lambda a: nd.LeakyReLU(a, act_type='{f}'), x)" for f in words('leaky elu gelu')],
        *[f"grad(lambda a: nd.L2Normalization(a, mode='{f}'), x)" for f in words('instance channel spatial')],
        *[f'norm({options})' for options in ('', 'fix_gamma=False', 'fix_gamma=False, eps=.1, momentum=.5',
                                                 'fix_gamma=False, use_global_stats=True', 'axis=2')],
        *calls("""
        nd.FullyConnected(x, nd.ones((2, 12)), nd.arange(2), num_hidden=2) ;
        grad(lambda a, b, c: nd.FullyConnected(a, b, c, num_hidden=3, flatten=False), x, m, lens) ;
        grad(lambda a, b: nd.FullyConnected(a, b, num_hidden=3, no_bias=True), m, m) ;
        nd.FullyConnected(m, m, num_hidden=3) ; nd.FullyConnected(m, m, lens, num_hidden=4) ; nd.FullyConnected(m, m, lens) ;
        grad(lambda a, b: nd.LeakyReLU(a, b, act_type='prelu'), x, lens) ; nd.LeakyReLU(x, act_type='selu') ;
        nd.Activation(x, act_type='none') ; nd.Dropout(x) ; nd.Dropout(x, p=2) ;
        grad(lambda a: nd.SoftmaxActivation(a), m) ; grad(lambda a: nd.SoftmaxActivation(a, mode='channel'), x) ;
        grad(lambda a, b, c: nd.LayerNorm(a, b, c), x, row, v) ;
        grad(lambda a, b, c: nd.LayerNorm(a, b, c, axis=1), x, lens, lens) ;
        nd.LayerNorm(x, row, v, output_mean_var=True) ; grad(lambda a, b, c: nd.InstanceNorm(a, b, c), x, lens, lens) ;
        nd.GroupNorm(x, nd.ones(3), lens, num_groups=3, output_mean_var=True) ;
        grad(lambda a, b, c: nd.GroupNorm(a, b, c, num_groups=2), x.transpose((0, 2, 1)), nd.array([1, 2]), nd.array([0, 1])) ;
        nd.BatchNorm(x, nd.ones(3), lens, lens, lens) ;
        nd.BatchNorm(x, lens, lens, lens, lens, fix_gamma=False, output_mean_var=True) ;
        nd.Embedding(idx, m, input_dim=3, output_dim=4) ; nd.Embedding(far, m, input_dim=3, output_dim=4) ;
        grad(lambda a: nd.Embedding(idx, a, input_dim=3, output_dim=4), m) ; nd.Embedding(idx, m, input_dim=4, output_dim=4)
        """)],
    "outputs": [
        *[f"grad(lambda a, b: nd.SoftmaxOutput(a, b{options}), m, lens)" for options in (
            '', ', grad_scale=2', ', use_ignore=True, ignore_label=1', ", normalization='batch'", ", normalization='valid'",
            ", use_ignore=True, ignore_label=2, normalization='valid'", ', smooth_alpha=.2')],
        *[f"grad(lambda a, b: nd.SoftmaxOutput(a, b, multi_output=True{options}), x, nd.array([[0, 1, 2, 1], [2, 2, 1, 0]]))"
          for options in ('', ", normalization='batch'", ", normalization='valid'", ', use_ignore=True, ignore_label=1')],
        *[f"grad(lambda a, b: nd.{f}RegressionOutput(a, b, grad_scale=.5), {arrays})"
          for f in words('Linear Logistic MAE') for arrays in ('x, y', 'col, lens', 'row, v')],
        *[f"grad(lambda a, b: nd.SVMOutput(a, b{options}), m, lens)" for options in (
            '', ', use_linear=True', ', margin=.3, regularization_coefficient=2')],
        *[f"grad(lambda a: nd.MakeLoss(a{options}), x)" for options in (
            '', ', grad_scale=3', ", normalization='batch'", ", normalization='valid', valid_thresh=.5")],
        *calls("""
        grad(lambda a, b: nd.SoftmaxOutput(a, b, preserve_shape=True), x, nd.array([[0, 1, 2], [3, 2, 1]])) ;
        nd.SoftmaxOutput(x, nd.array([[0, 1, 2], [3, 2, 1]])) ; nd.SoftmaxOutput(m, row) ; nd.SoftmaxOutput(x, v) ;
        grad(lambda a, b: nd.SoftmaxOutput(a, b), m, m) ; nd.SVMOutput(m, row) ; nd.LinearRegressionOutput(m, row) ;
        grad(lambda a: nd.make_loss(a), x) ; grad(lambda a: nd.BlockGrad(a) * a, x) ; nd.stop_gradient(x) ;
        grad(lambda a: nd.smooth_l1(a, scalar=2), x) ; nd.softmax_cross_entropy(m, lens) ; nd.softmax_cross_entropy(m, row) ;
        grad(lambda a: nd.max(a, axis=1), t) ; grad(lambda a: nd.min(a), t) ; grad(lambda a: nd.clip(a, 0, 2), t) ;
        grad(nd.relu, z) ; grad(nd.abs, z) ; grad(nd.sqrt, z) ; grad(nd.broadcast_maximum, t, t) ; grad(nd.sign, t)
        """)],
}
