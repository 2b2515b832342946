SELECT
  export_name,
  billing_period,
  CAST(bill_payer_account_id AS VARCHAR) AS billingaccountid,
  CAST(bill_payer_account_name AS VARCHAR) AS billingaccountname,
  CAST(line_item_usage_account_id AS VARCHAR) AS subaccountid,
  CAST(line_item_usage_account_name AS VARCHAR) AS subaccountname,
  CAST(bill_billing_period_start_date AS TIMESTAMP) AS billingperiodstart,
  CAST(line_item_usage_start_date AS TIMESTAMP) AS chargeperiodstart,
  CAST(line_item_usage_end_date AS TIMESTAMP) AS chargeperiodend,
  CAST(CASE
    WHEN line_item_line_item_type IN (
      'DiscountedUsage',
      'FlatRateSubscription',
      'SavingsPlanCoveredUsage',
      'SavingsPlanNegation',
      'Usage'
    )
    THEN 'Usage'
    WHEN line_item_line_item_type IN ('Fee', 'RIFee', 'SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee')
    THEN 'Purchase'
    WHEN line_item_line_item_type IN ('Tax')
    THEN 'Tax'
    WHEN line_item_line_item_type IN ('Credit')
    THEN 'Credit'
    WHEN line_item_line_item_type <> ''
    THEN 'Adjustment'
  END AS VARCHAR) AS chargecategory,
  CAST(line_item_line_item_description AS VARCHAR) AS chargedescription,
  CAST(COALESCE(
    NULLIF(ELEMENT_AT(product, 'product_name'), ''),
    NULLIF(line_item_product_code, '')
  ) AS VARCHAR) AS servicename,
  CAST(line_item_product_code AS VARCHAR) AS x_servicecode,
  CAST(line_item_line_item_type AS VARCHAR) AS x_chargetype,
  CAST(product_region_code AS VARCHAR) AS regionid,
  CAST(line_item_resource_id AS VARCHAR) AS resourceid,
  CAST(bill_invoice_id AS VARCHAR) AS invoiceid,
  CAST(bill_invoicing_entity AS VARCHAR) AS invoiceissuername,
  CAST(CASE
    WHEN line_item_line_item_type IN ('DiscountedUsage', 'FlatRateSubscription', 'SavingsPlanCoveredUsage', 'Usage')
    AND COALESCE(split_line_item_parent_resource_id, '') = ''
    THEN line_item_usage_amount
  END AS DECIMAL(38, 18)) AS consumedquantity,
  CAST(line_item_currency_code AS VARCHAR) AS billingcurrency,
  CAST(line_item_unblended_cost AS DECIMAL(38, 18)) AS billedcost,
  CAST(CASE
    WHEN line_item_line_item_type = 'SavingsPlanCoveredUsage'
    AND COALESCE(savings_plan_savings_plan_a_r_n, '') <> ''
    THEN COALESCE(savings_plan_savings_plan_effective_cost, 0)
    WHEN line_item_line_item_type = 'SavingsPlanRecurringFee'
    AND COALESCE(savings_plan_savings_plan_a_r_n, '') <> ''
    THEN COALESCE(savings_plan_total_commitment_to_date, 0) - COALESCE(savings_plan_used_commitment, 0)
    WHEN line_item_line_item_type IN ('SavingsPlanNegation', 'SavingsPlanUpfrontFee')
    AND COALESCE(savings_plan_savings_plan_a_r_n, '') <> ''
    THEN 0
    WHEN line_item_line_item_type = 'Refund'
    AND line_item_product_code = 'ComputeSavingsPlans'
    AND line_item_line_item_description LIKE 'Refund for one-time fee for Savings Plan ID%'
    THEN 0
    WHEN line_item_line_item_type = 'DiscountedUsage'
    AND COALESCE(reservation_reservation_a_r_n, '') <> ''
    THEN COALESCE(reservation_effective_cost, 0)
    WHEN line_item_line_item_type = 'RIFee'
    AND COALESCE(reservation_reservation_a_r_n, '') <> ''
    THEN COALESCE(reservation_unused_amortized_upfront_fee_for_billing_period, 0) + COALESCE(reservation_unused_recurring_fee, 0)
    WHEN line_item_line_item_type = 'Fee'
    AND COALESCE(reservation_reservation_a_r_n, '') <> ''
    THEN 0
    ELSE COALESCE(line_item_unblended_cost, 0)
  END AS DECIMAL(38, 18)) AS effectivecost,
  CAST(CASE
    WHEN line_item_line_item_type = 'SavingsPlanNegation'
    THEN 0
    ELSE pricing_public_on_demand_cost
  END AS DECIMAL(38, 18)) AS listcost
FROM "AwsDataCatalog"."billing"."cur2"
WHERE
  export_name = 'cur2'
UNION ALL
SELECT
  export_name,
  billing_period,
  CAST(billingaccountid AS VARCHAR) AS billingaccountid,
  CAST(billingaccountname AS VARCHAR) AS billingaccountname,
  CAST(subaccountid AS VARCHAR) AS subaccountid,
  CAST(subaccountname AS VARCHAR) AS subaccountname,
  CAST(billingperiodstart AS TIMESTAMP) AS billingperiodstart,
  CAST(chargeperiodstart AS TIMESTAMP) AS chargeperiodstart,
  CAST(chargeperiodend AS TIMESTAMP) AS chargeperiodend,
  CAST(chargecategory AS VARCHAR) AS chargecategory,
  CAST(chargedescription AS VARCHAR) AS chargedescription,
  CAST(servicename AS VARCHAR) AS servicename,
  CAST(x_servicecode AS VARCHAR) AS x_servicecode,
  CAST(NULL AS VARCHAR) AS x_chargetype,
  CAST(regionid AS VARCHAR) AS regionid,
  CAST(resourceid AS VARCHAR) AS resourceid,
  CAST(invoiceid AS VARCHAR) AS invoiceid,
  CAST(invoiceissuername AS VARCHAR) AS invoiceissuername,
  CAST(consumedquantity AS DECIMAL(38, 18)) AS consumedquantity,
  CAST(billingcurrency AS VARCHAR) AS billingcurrency,
  CAST(billedcost AS DECIMAL(38, 18)) AS billedcost,
  CAST(COALESCE(effectivecost, billedcost) AS DECIMAL(38, 18)) AS effectivecost,
  CAST(listcost AS DECIMAL(38, 18)) AS listcost
FROM "AwsDataCatalog"."billing"."focus"
WHERE
  export_name = 'focus'
UNION ALL
SELECT
  export_name,
  billing_period,
  CAST(bill_payer_account_id AS VARCHAR) AS billingaccountid,
  CAST(bill_payer_account_name AS VARCHAR) AS billingaccountname,
  CAST(line_item_usage_account_id AS VARCHAR) AS subaccountid,
  CAST(line_item_usage_account_name AS VARCHAR) AS subaccountname,
  CAST(bill_billing_period_start_date AS TIMESTAMP) AS billingperiodstart,
  CAST(line_item_usage_start_date AS TIMESTAMP) AS chargeperiodstart,
  CAST(line_item_usage_end_date AS TIMESTAMP) AS chargeperiodend,
  CAST(CASE
    WHEN line_item_line_item_type IN (
      'DiscountedUsage',
      'FlatRateSubscription',
      'SavingsPlanCoveredUsage',
      'SavingsPlanNegation',
      'Usage'
    )
    THEN 'Usage'
    WHEN line_item_line_item_type IN ('Fee', 'RIFee', 'SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee')
    THEN 'Purchase'
    WHEN line_item_line_item_type IN ('Tax')
    THEN 'Tax'
    WHEN line_item_line_item_type IN ('Credit')
    THEN 'Credit'
    WHEN line_item_line_item_type <> ''
    THEN 'Adjustment'
  END AS VARCHAR) AS chargecategory,
  CAST(line_item_line_item_description AS VARCHAR) AS chargedescription,
  CAST(COALESCE(NULLIF(product_product_name, ''), NULLIF(line_item_product_code, '')) AS VARCHAR) AS servicename,
  CAST(line_item_product_code AS VARCHAR) AS x_servicecode,
  CAST(line_item_line_item_type AS VARCHAR) AS x_chargetype,
  CAST(product_region_code AS VARCHAR) AS regionid,
  CAST(line_item_resource_id AS VARCHAR) AS resourceid,
  CAST(bill_invoice_id AS VARCHAR) AS invoiceid,
  CAST(bill_invoicing_entity AS VARCHAR) AS invoiceissuername,
  CAST(CASE
    WHEN line_item_line_item_type IN ('DiscountedUsage', 'FlatRateSubscription', 'SavingsPlanCoveredUsage', 'Usage')
    AND COALESCE(split_line_item_parent_resource_id, '') = ''
    THEN line_item_usage_amount
  END AS DECIMAL(38, 18)) AS consumedquantity,
  CAST(line_item_currency_code AS VARCHAR) AS billingcurrency,
  CAST(line_item_unblended_cost AS DECIMAL(38, 18)) AS billedcost,
  CAST(CASE
    WHEN line_item_line_item_type = 'SavingsPlanCoveredUsage'
    AND COALESCE(savings_plan_savings_plan_a_r_n, '') <> ''
    THEN COALESCE(savings_plan_savings_plan_effective_cost, 0)
    WHEN line_item_line_item_type = 'SavingsPlanRecurringFee'
    AND COALESCE(savings_plan_savings_plan_a_r_n, '') <> ''
    THEN COALESCE(savings_plan_total_commitment_to_date, 0) - COALESCE(savings_plan_used_commitment, 0)
    WHEN line_item_line_item_type IN ('SavingsPlanNegation', 'SavingsPlanUpfrontFee')
    AND COALESCE(savings_plan_savings_plan_a_r_n, '') <> ''
    THEN 0
    WHEN line_item_line_item_type = 'Refund'
    AND line_item_product_code = 'ComputeSavingsPlans'
    AND line_item_line_item_description LIKE 'Refund for one-time fee for Savings Plan ID%'
    THEN 0
    WHEN line_item_line_item_type = 'DiscountedUsage'
    AND COALESCE(reservation_reservation_a_r_n, '') <> ''
    THEN COALESCE(reservation_effective_cost, 0)
    WHEN line_item_line_item_type = 'RIFee'
    AND COALESCE(reservation_reservation_a_r_n, '') <> ''
    THEN COALESCE(reservation_unused_amortized_upfront_fee_for_billing_period, 0) + COALESCE(reservation_unused_recurring_fee, 0)
    WHEN line_item_line_item_type = 'Fee'
    AND COALESCE(reservation_reservation_a_r_n, '') <> ''
    THEN 0
    ELSE COALESCE(line_item_unblended_cost, 0)
  END AS DECIMAL(38, 18)) AS effectivecost,
  CAST(CASE
    WHEN line_item_line_item_type = 'SavingsPlanNegation'
    THEN 0
    ELSE pricing_public_on_demand_cost
  END AS DECIMAL(38, 18)) AS listcost
FROM "AwsDataCatalog"."billing"."legacy_cur"
WHERE
  export_name = 'legacy_cur'
