"""The pages, /finops: HTML that is made here, without a script."""
