// What needs the running app: the Action Group that Azure's budgets call, whose URL holds the function's key.
// infra/hooks/running.py deploys it, after the app.
param appName string
param appHost string
param lockGroupName string
@minLength(36)
@maxLength(36)
@description('The principal id of the app\'s identity.')
param principalId string
@description('The name of azd\'s environment.')
param environmentName string

var roles = loadJsonContent('roles.json')

resource app 'Microsoft.Web/sites@2024-11-01' existing = {
  name: appName

  resource budgetAlert 'functions' existing = {
    name: 'BudgetAlert'
  }
}

resource lockGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: lockGroupName
  location: 'global'
  tags: { 'azd-env-name': environmentName }
  properties: {
    enabled: true
    groupShortName: 'warden-lock'
    azureFunctionReceivers: [
      {
        name: 'budget-alert'
        functionAppResourceId: app.id
        functionName: app::budgetAlert.name
        httpTriggerUrl: 'https://${appHost}/api/budget-alert?code=${app::budgetAlert.listKeys().default}'
        useCommonAlertSchema: true
      }
    ]
  }
}

resource readsGroup 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(lockGroup.id, principalId, roles.monitoringReader.id)
  scope: lockGroup
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.monitoringReader.id)
    description: roles.monitoringReader.why
  }
}
