COPY dataset_info FROM 'dataset_info.csv' (FORMAT 'csv', force_not_null 'id', quote '"', delimiter ',', header 1);
COPY evaluation_results FROM 'evaluation_results.csv' (FORMAT 'csv', force_not_null 'id', quote '"', delimiter ',', header 1);
COPY model_annotations FROM 'model_annotations.csv' (FORMAT 'csv', force_not_null 'id', quote '"', delimiter ',', header 1);
