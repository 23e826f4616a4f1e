"""What is remembered and told of outages: history, incidents, providers' status pages, alerts, reports."""
