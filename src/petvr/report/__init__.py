"""What comes out, read from result files alone: tables, figures, MLflow, and pages written from the code."""
