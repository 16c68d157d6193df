"""Array -> quantization codes and back: prediction and quantization are one stage."""
