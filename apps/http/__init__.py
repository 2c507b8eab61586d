"""What pages and endpoints share: problems, paging, fragments, repeated requests."""
