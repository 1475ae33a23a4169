// The matrices of lib/matrix_tiles.wgsl as the GPU's own: 16 x 16, spread over a subgroup as the driver sees fit.
// `stride` is from a row to the next in memory; of a transposed matrix, from a column to the next.
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

fn load_left(at: u32, stride: u32, transposed: bool) -> Left {
  if (transposed) { return subgroupMatrixLoad<Left, col_major>(&factor_tile, at, stride); }
  return subgroupMatrixLoad<Left, row_major>(&factor_tile, at, stride);
}
fn load_right(at: u32, stride: u32, transposed: bool) -> Right {
  if (transposed) { return subgroupMatrixLoad<Right, col_major>(&factor_tile, at, stride); }
  return subgroupMatrixLoad<Right, row_major>(&factor_tile, at, stride);
}
fn load_sum(at: u32, stride: u32) -> Sum { return subgroupMatrixLoad<Sum, row_major>(&sum_tile, at, stride); }
fn store_sum(at: u32, stride: u32, sum: Sum) { subgroupMatrixStore<row_major>(&sum_tile, at, sum, stride); }
fn multiply(a: Left, b: Right, sum: Sum) -> Sum { return subgroupMatrixMultiplyAccumulate(a, b, sum); }
