alter table lines add column article text not null default '';
update lines set article = sku;
alter table lines alter column article drop default, drop column sku;
alter table lines rename column article to sku;
alter table lines alter column sku set statistics 1000;
