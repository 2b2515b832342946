SELECT
  CAST(line_item_usage_start_date AS DATE) AS day,
  line_item_currency_code AS currency,
  SUM(COALESCE(line_item_unblended_cost, 0)) AS unblended_cost,
  SUM(
    CASE
      WHEN line_item_line_item_type = 'SavingsPlanCoveredUsage'
      THEN COALESCE(savings_plan_savings_plan_effective_cost, 0)
      WHEN line_item_line_item_type = 'SavingsPlanRecurringFee'
      THEN COALESCE(savings_plan_total_commitment_to_date, 0) - COALESCE(savings_plan_used_commitment, 0)
      WHEN line_item_line_item_type IN ('SavingsPlanNegation', 'SavingsPlanUpfrontFee')
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
    END
  ) AS amortised_cost,
  COUNT(*) AS line_items
FROM "AwsDataCatalog"."billing"."cost_and_usage"
WHERE
  billing_period = '2025-03'
GROUP BY
  1,
  2
ORDER BY
  day,
  currency
