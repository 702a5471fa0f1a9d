-- Second half of the split: nothing reads the whole name any more.
alter table customers drop column full_name;
