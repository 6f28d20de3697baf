// Where cost exports lie, in a storage account that is there: the containers, and what the app's identity may do in them.
param storageName string
@description('The account\'s region, the only one in which Azure takes a topic on it.')
param location string
param tags object
@description('The container of the exports. One that is there stays as it is.')
param container string
@description('The id of the app\'s identity.')
param principalId string
@description('The name of the Event Grid topic that tells of new blobs; empty: none is made.')
param topicName string

var roles = loadJsonContent('../roles.json')
// What CostExportScanner keeps (shared/pipeline/exports/seen.py).
var stateContainer = 'budget-warden'

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: account
  name: 'default'
}

resource exports 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: container
}

resource state 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: stateContainer
}

resource reading 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principalId, roles.blobReader.id)
  scope: account
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobReader.id)
    description: roles.blobReader.why
  }
}

resource keeping 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(state.id, principalId, roles.blobContributor.id)
  scope: state
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobContributor.id)
    description: roles.blobContributor.why
  }
}

// One account has one such topic: where there is one already, subscribe to that.
resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (!empty(topicName)) {
  name: empty(topicName) ? 'none' : topicName
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: account.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

output topicPrincipalId string = empty(topicName) ? '' : topic!.identity.principalId
