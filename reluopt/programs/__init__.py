"""The convex programs as statements: data, patterns, β; values, gradients, duals. No solver."""
