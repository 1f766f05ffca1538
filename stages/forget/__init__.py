"""Taking back what was read: the verb `forget`. No stage; the work is `pipeline.deletion.takedown`'s and each stage's own."""
