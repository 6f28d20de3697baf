// A Logic App that asks Budget Warden by HTTP, every day at 02:00 UTC, to read all costs; and an alert when that fails.
//   az deployment group create -g GROUP --template-file infra/triggers/logic-app/finops-daily-sync.bicep \
//     --parameters syncUrl=https://HOST/finops/api/sync/ actionGroupId=… syncToken=…
@description('The address of the sync: https://HOST/finops/api/sync/')
param syncUrl string

@secure()
@description('SECRET_SYNC_TOKEN of the app.')
param syncToken string

@description('The Action Group that tells operators.')
param actionGroupId string

param location string = resourceGroup().location

resource workflow 'Microsoft.Logic/workflows@2019-05-01' = {
  name: 'finops-daily-sync'
  location: location
  properties: {
    state: 'Enabled'
    definition: {
      '$schema': 'https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#'
      contentVersion: '1.0.0.0'
      parameters: {
        syncUrl: { type: 'String' }
        syncToken: { type: 'SecureString' }
      }
      triggers: {
        daily: {
          type: 'Recurrence'
          recurrence: {
            frequency: 'Day'
            interval: 1
            timeZone: 'UTC'
            schedule: { hours: [2], minutes: [0] }
          }
        }
      }
      actions: {
        sync: {
          type: 'Http'
          inputs: {
            method: 'POST'
            uri: '@parameters(\'syncUrl\')'
            headers: { 'X-Sync-Token': '@parameters(\'syncToken\')' }
            // Once more where the app is unwell: a sync that runs already is not begun anew.
            retryPolicy: { type: 'fixed', count: 2, interval: 'PT15M' }
          }
          // The history of runs shows no token.
          runtimeConfiguration: { secureData: { properties: ['inputs'] } }
        }
      }
    }
    parameters: {
      syncUrl: { value: syncUrl }
      syncToken: { value: syncToken }
    }
  }
}

resource failed 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'finops-daily-sync-failed'
  location: 'global'
  properties: {
    description: 'The daily sync of Budget Warden has failed: docs/triggers.md#a-logic-app'
    severity: 2
    enabled: true
    scopes: [workflow.id]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'failed'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: 'Microsoft.Logic/workflows'
          metricName: 'RunsFailed'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}
