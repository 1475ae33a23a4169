// What kernels of subgroup matrices (16 x 16: factors of f16, sums of f32) share: a workgroup of four subgroups, and the
// workgroup memory between their lanes and their matrices.
// The kernel says const FACTORS, SUMS: the numbers that each memory holds. Matrices begin, and their rows or columns follow
// each other, at multiples of 16 bytes.
// The variant gives alias H = f16, const SUBGROUP, and matrix_subgroup.wgsl or its stand-in matrix_shuffle.wgsl.
const LANES = 4u * SUBGROUP;
const PADDING = 8u;  // rows of a tile of factors begin in different banks of the memory

var<workgroup> factor_tile: array<H, FACTORS>;
var<workgroup> sum_tile: array<f32, SUMS>;
var<private> subgroup: u32;  // of the workgroup; set by main
var<private> subgroup_lane: u32;

fn put_factors(at: u32, x: vec4f) { for (var i = 0u; i < 4u; i++) { factor_tile[at + i] = H(x[i]); } }
