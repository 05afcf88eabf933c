"""Fine-tune a ResNet on a folder of pictures, pack it as a bento, serve it over HTTP."""
