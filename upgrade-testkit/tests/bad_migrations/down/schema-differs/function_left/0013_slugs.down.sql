drop index customers_slug;
