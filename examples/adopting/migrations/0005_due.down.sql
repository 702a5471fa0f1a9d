-- A typing error that nobody noticed: no down was ever run.
alter table tickets drop column dew;
