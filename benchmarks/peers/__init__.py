"""What Prism is compared with, built as fairly as we know how."""
