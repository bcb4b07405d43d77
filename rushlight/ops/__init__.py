"""The op table: one row an op. Families hold the rules, rows hold the difference. Knows no Tensor and no backend."""
