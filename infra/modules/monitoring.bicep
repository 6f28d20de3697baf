// Logs and telemetry, and the Action Group that tells operators.
param workspaceName string
param insightsName string
param actionGroupName string
param location string
param tags object
param operators string[]
@description('Gigabytes a day after which the workspace takes nothing more until the next day: what keeps a fault from becoming a bill.')
param dailyGigabytes int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
    workspaceCapping: { dailyQuotaGb: dailyGigabytes }
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: insightsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    // Telemetry is taken of the app's identity alone, not of whoever has the connection string.
    DisableLocalAuth: true
  }
}

resource operatorsGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'warden-ops'
    emailReceivers: [
      for operator in operators: {
        name: operator
        emailAddress: operator
        useCommonAlertSchema: true
      }
    ]
  }
}

output connectionString string = insights.properties.ConnectionString
