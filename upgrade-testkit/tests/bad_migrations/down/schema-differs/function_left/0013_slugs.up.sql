create function slug(text) returns text language sql immutable as
$$ select lower(regexp_replace($1, '[^a-zA-Z0-9]+', '-', 'g')) $$;
create index customers_slug on customers (slug(email));
