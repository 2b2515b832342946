SELECT
  service,
  currency,
  untagged_cost,
  cost,
  CAST(ROUND(
    CAST(100 * CAST(untagged_cost AS DOUBLE) AS DOUBLE) / NULLIF(CAST(cost AS DOUBLE), 0),
    1
  ) AS DECIMAL(9, 1)) AS untagged_percent
FROM (
  SELECT
    service,
    currency,
    COALESCE(SUM(cost) FILTER(WHERE
      untagged), 0) AS untagged_cost,
    SUM(cost) AS cost
  FROM (
    SELECT
      CASE
        WHEN bill_billing_entity = 'AWS Marketplace'
        THEN COALESCE(
          NULLIF(product_product_name, ''),
          NULLIF(product_servicecode, ''),
          NULLIF(line_item_product_code, '')
        )
        ELSE COALESCE(
          NULLIF(product_servicecode, ''),
          NULLIF(line_item_product_code, ''),
          NULLIF(product_product_name, '')
        )
      END AS service,
      line_item_currency_code AS currency,
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
      END AS cost,
      COALESCE("resource_tags_user_team", '') = ''
      AND COALESCE("resource_tags_user_環境", '') = '' AS untagged
    FROM "AwsDataCatalog"."billing"."cost_and_usage"
    WHERE
      billing_period = '2025-03'
      AND line_item_line_item_type IN ('Usage', 'DiscountedUsage', 'SavingsPlanCoveredUsage')
  ) AS lines
  GROUP BY
    service,
    currency
) AS totals
ORDER BY
  untagged_cost DESC,
  service
