\copy lines from 'prices.csv' csv
