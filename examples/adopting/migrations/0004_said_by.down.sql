-- The index that 0004 dropped does not come back.
alter table comments drop column said_by;
