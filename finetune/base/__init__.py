"""What every stage needs: parameters, files, and mistakes reported in one line."""
